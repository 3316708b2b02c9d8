"""The learner of deep Q-learning: replay memory, prediction network, target network.

This module imports torch, so import it only when there is something to learn.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch.nn import functional as F

from nasrun.hardware.devices import single_thread
from nasrun.strategies.controllers.controllers import Controller, make_controller
from nasrun.strategies.controllers.settings import QSettings


class Replay:
    """The last `capacity` transitions (s, a, r, s'), in a ring buffer.

    A state s is a prefix, kept as a row of slots. s' is s followed by a, so that only the slots legal after it are
    kept. The score of the whole episode is kept in place of r, which is 0 except at the last transition; NaN: the trial
    failed.
    """

    def __init__(self, capacity: int, slots: int, positions: int) -> None:
        self.prefixes = np.full((capacity, positions), slots, dtype=np.int64)
        self.lengths = np.zeros(capacity, dtype=np.int64)
        self.actions = np.zeros(capacity, dtype=np.int64)
        self.legal = np.zeros((capacity, slots), dtype=np.bool_)
        self.scores = np.zeros(capacity)
        self.size = 0
        self._slots, self._next = slots, 0

    def add(self, episode: Sequence[int], legal: Sequence[Sequence[int]], score: float) -> None:
        """Add the transitions of an episode: its slots, the slots that are legal after each of them, its score."""
        missing = len(episode) - self.prefixes.shape[1]
        if missing > 0:
            self.prefixes = np.pad(self.prefixes, ((0, 0), (0, missing)), constant_values=self._slots)
        capacity = len(self.prefixes)
        for length, (action, following) in enumerate(zip(episode, legal, strict=True)):
            place = self._next
            self.prefixes[place, :length] = episode[:length]
            self.prefixes[place, length:] = self._slots
            self.legal[place] = False
            self.legal[place, following] = True
            self.lengths[place], self.actions[place], self.scores[place] = length, action, score
            self._next = (place + 1) % capacity
            self.size = max(self.size, place + 1)


class QLearner:
    """Learns Q-values of slots from episodes, and reads new episodes with them.

    Source: Mnih et al., "Human-level control through deep reinforcement learning", Nature 518, 2015, algorithm 1, with
    Adam in place of RMSProp and the clipped error as Huber loss. Without a target network the prediction network is its
    own target.

    All torch computations here run in one thread, which is faster for matrices this small and makes results independent
    of the number of cores. The number of threads is restored afterwards.
    """

    def __init__(
        self,
        settings: QSettings,
        slots: int,
        positions: int,
        seed: int,
    ) -> None:
        self.replay = Replay(settings.memory, slots, positions)
        self.steps = 0
        """Gradient steps done."""
        self.prediction = make_controller(settings.controller, slots, positions, settings.hidden, settings.layers, seed)
        self.target = copy.deepcopy(self.prediction) if settings.target else self.prediction
        self._weights: list[torch.Tensor] = list(self.prediction.parameters())
        self._target_weights: list[torch.Tensor] = list(self.target.parameters())
        self._optimizer = torch.optim.Adam(self._weights, lr=settings.lr, fused=True)
        self._discount = settings.discount
        self._target_every = settings.target_every if settings.target else None

    def learn(self, picks: np.ndarray, rewards: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take a gradient step for each row of `picks`, indices into the replay memory (steps, batch); `rewards` turns
        scores into rewards."""
        with single_thread(), torch.enable_grad():
            for batch in picks:
                self._step(batch, torch.from_numpy(rewards(self.replay.scores[batch])).float())

    def _step(self, batch: np.ndarray, rewards: torch.Tensor) -> None:
        replay = self.replay
        prefixes, lengths, actions, legal = (
            torch.from_numpy(column[batch])
            for column in (replay.prefixes, replay.lengths, replay.actions[:, None], replay.legal)
        )
        with torch.no_grad():
            after = prefixes.scatter(1, lengths[:, None], actions)
            best = self.target(after, lengths + 1).masked_fill_(~legal, -torch.inf).amax(1)
            # An episode is over if nothing is legal: its last transition gets the reward, earlier ones the value of
            # what follows.
            wanted = torch.where(legal.any(1), self._discount * best, rewards)
        predicted = self.prediction(prefixes, lengths).gather(1, actions)[:, 0]
        gradients = torch.autograd.grad(F.smooth_l1_loss(predicted, wanted), self._weights)
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        self._optimizer.step()
        self.steps += 1
        if self._target_every is not None and self.steps % self._target_every == 0:
            with torch.no_grad():
                for target, weight in zip(self._target_weights, self._weights, strict=True):
                    target.copy_(weight)

    @contextmanager
    def episode(self) -> Iterator["Reader"]:
        """A reader for a new episode."""
        with single_thread(), torch.inference_mode():
            yield Reader(self.prediction)


class Reader:
    """Reads the slots of one episode, and finds the best next slot."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._state = controller.start()
        self._unread: list[int] = []

    def read(self, slot: int) -> None:
        """Read the chosen slot."""
        self._unread.append(slot)

    def values(self, slots: Sequence[int]) -> list[float]:
        """The Q-values of some slots as the next one."""
        if self._unread:
            self._state = self._controller.read(self._state, self._unread)
            self._unread = []
        known: list[float] = self._controller.values(self._state).tolist()
        return [known[slot] for slot in slots]

    def best(self, slots: Sequence[int]) -> int:
        """The index in `slots` of the highest Q-value; the first of equal ones."""
        values = self.values(slots)
        return max(range(len(slots)), key=values.__getitem__)
