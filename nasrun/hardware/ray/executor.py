"""The executor whose workers are actors of a Ray cluster."""

import contextlib
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasrun.core import Evaluator, Job
from nasrun.datasets import Splits
from nasrun.hardware.pool import GRACE_SECONDS
from nasrun.hardware.ray.cluster import library
from nasrun.hardware.ray.head import LOOK_SECONDS, Head
from nasrun.hardware.ray.versions import differing_node
from nasrun.hardware.ray.worker import RayWorker
from nasrun.hardware.remote import RemoteExecutor, RemoteWorker
from nasrun.hardware.remote_worker import Place
from nasrun.hardware.worker_messages import Recipe, WorkerError


@dataclass
class _Actor(RemoteWorker):
    """An actor, and the call in progress there; None if it is idle. `taken`: its node was lost."""

    handle: Any
    call: Any
    taken: bool = False


class RayExecutor(RemoteExecutor[_Actor]):
    """Evaluates in actors of the cluster that this process is connected to.

    The actors are spread over the nodes. If a node is lost, Ray starts new ones on the remaining nodes; jobs wait
    without a limit for workers that no node has room for. The data are put into the cluster's memory once, and each
    node holds one copy. Actors end with the runner in any case.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        recipe: Recipe,
        workers: int,
        resources: Mapping[str, float],
        *,
        splits: Splits | None = None,
        directory: Path | None = None,
        say: Callable[[str], None] = lambda text: None,
        grace: float = GRACE_SECONDS,
    ) -> None:
        """`resources`: of each actor, as Ray's `options` takes them. `directory`: the run's, if checkpoints go there.

        `say`: shows a line to the user.
        """
        super().__init__(evaluator, workers, grace, say)
        self._ray, self._place = library(), Place.here("Ray cluster", directory)
        # Through Ray's client, only the client's server can be reached, and Ray reports itself when that is lost.
        through_client = self._ray.util.client.ray.is_connected()
        self._head = None if through_client else Head(self._ray.get_runtime_context().gcs_address)
        self._recipe = pickle.dumps(recipe)
        self._kind = self._ray.remote(max_restarts=0, max_task_retries=0)(RayWorker)
        self._resources = resources
        self._splits = None if splits is None else self._ray.put(splits)

    def _start(self, place: int) -> _Actor:
        handle = self._kind.options(scheduling_strategy="SPREAD", **self._resources).remote(self._place)
        one = _Actor(handle, handle.set_up.remote(self._recipe, self._splits), place=place)
        one.since = time.monotonic()
        return one

    def _send(self, one: _Actor, jobs: Sequence[Job]) -> None:
        one.call = one.handle.turn.remote(list(jobs))

    def _hear(self, patience: float | None) -> bool:
        there = {one.call: one for one in self._workers if one is not None and one.call is not None}
        limits = [limit for limit in (patience, self._seconds_to_notice(), LOOK_SECONDS) if limit is not None]
        try:
            speaking, _ = self._ray.wait(list(there), timeout=min(limits))
        except ConnectionError as error:
            raise WorkerError(f"Ray's client lost the cluster: {_last_line(error)}") from error
        if self._head is not None:
            self._head.check()
        for call in speaking:
            self._answer(there[call], call)
        if not speaking:
            self._notice()
        return bool(speaking)

    def _answer(self, one: _Actor, call: Any) -> None:
        one.call = None
        try:
            said = self._ray.get(call)
        except self._ray.exceptions.RayActorError as error:
            if getattr(error, "actor_init_failed", False):
                other = differing_node(self._ray, self._place.versions)
                raise WorkerError(
                    other or f"a worker cannot be started on the Ray cluster: {_last_line(error)}"
                ) from error
            one.taken = lost_node(error, self._ray.exceptions)
            self._lost(one, _last_line(error))
            return
        except self._ray.exceptions.RayError as error:
            raise WorkerError(f"Ray: {_last_line(error)}") from error
        for kind, content in said:
            self._take(one, kind, content)
        if one.task is not None or not one.is_set_up:
            one.call = one.handle.turn.remote()

    def _is_to_blame(self, one: _Actor) -> bool:
        return not one.taken

    def _waiting_for(self) -> str:
        needs = ", ".join(f"{name.removeprefix('num_')} {value:g}" for name, value in self._resources.items() if value)
        return f"room on the Ray cluster ({needs} each)"

    def _kill(self, one: _Actor) -> None:
        if self._head is not None and self._head.is_lost:
            return  # Ray would wait for the head here, and actors end with their runner anyway
        with contextlib.suppress(Exception):  # the actor or the cluster is dead
            self._ray.kill(one.handle)

    def close(self) -> None:
        super().close()
        if self._head is not None:
            self._head.close()
        self._splits = None


def lost_node(error: Any, exceptions: Any) -> bool:
    """Whether an actor died with its node, or is unreachable, according to Ray; then its job is not at fault.

    `error`: a RayActorError. `exceptions`: Ray's module of exceptions.
    """
    text = str(error)
    gone = any(words in text for words in ("its node has died", "node was terminated"))
    return gone or error.preempted or isinstance(error, exceptions.ActorUnavailableError)


def _last_line(error: Exception) -> str:
    """The relevant line of Ray's many: the last, which has the remote error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
