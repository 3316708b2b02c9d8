"""Gives the untrained networks of a search space their scores, on images of a data set."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from nasrun.core import Genome, SearchSpace, seeding
from nasrun.datasets import Dataset
from nasrun.evaluators.proxies.names import NO_IMAGES, PRICES, RANKED, parts_of
from nasrun.evaluators.proxies.reference import Reference
from nasrun.hardware.devices import Runtime, single_thread

if TYPE_CHECKING:
    import torch

    from nasrun.evaluators.proxies.passes import Batch
    from nasrun.training.data import DeviceData

BATCHES = 2
"""Of `images` images each: `zico` compares the gradients of two."""


class Scorer:
    """Scores of the networks of a space, in fp32 and, on the CPU, in one thread, so that they are the same to the bit
    with any number of workers.

    `images`: training images in a batch. They follow from the data set's `split_seed` and the number of the repeat, so
    that all architectures are scored on the same ones. `rank_sum`: what the score of that name adds up.
    """

    def __init__(self, space: SearchSpace, dataset: Dataset, runtime: Runtime, images: int, rank_sum: Sequence[str]):
        self._space, self._dataset, self._runtime = space, dataset, runtime
        self._images, self._rank_sum = images, tuple(rank_sum)
        self._data: DeviceData | None = None
        self._chosen: dict[int, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def scores(
        self, genome: Genome, seed: int, names: Collection[str], *, repeat: int = 0, reference: Reference | None = None
    ) -> dict[str, float]:
        """Some scores of an architecture, with initial weights by a seed. `reference`: for those made of ranks.

        OverflowError where one is not finite; torch's global generators stay as they were.
        """
        single = parts_of(names, self._rank_sum)
        found: dict[str, float] = dict(self._space.cost(genome, self._dataset.task)._asdict())
        if set(single) - set(PRICES):
            found |= self._of_network(genome, seed, single, repeat)
        if "rank_sum" in names:
            assert reference is not None
            found["rank_sum"] = reference.rank_sum(found, self._rank_sum)
        if "az_nas" in names:
            assert reference is not None
            found["az_nas"] = reference.az_nas(found)
        return {name: found[name] for name in names}

    def _of_network(self, genome: Genome, seed: int, names: Iterable[str], repeat: int) -> dict[str, float]:
        import torch

        from nasrun.evaluators.proxies.passes import Probe
        from nasrun.evaluators.proxies.scores import SCORES

        task, runtime = self._dataset.task, self._runtime
        generator = torch.Generator().manual_seed(seeding.integer(seed, seeding.Purpose.PROXY))
        with torch.random.fork_rng([]), single_thread():
            torch.manual_seed(seeding.integer(seed, seeding.Purpose.INIT))
            model = runtime.place(self._space.build(genome, task))
            batches = self._batches(repeat, runtime.memory_format(model)) if set(names) - set(NO_IMAGES) else []
            loss = self._ready.loss() if batches else _no_loss
            probe = Probe(model, batches, loss, generator, (task.channels, task.height, task.width))
            found = {name: SCORES[name](probe) for name in names if name not in PRICES}
        for name, value in found.items():
            if not abs(value) < float("inf"):
                raise OverflowError(f"{name} is {value}")
        return found

    def _batches(self, repeat: int, memory_format: "torch.memory_format") -> "list[Batch]":
        """The batches of a repeat, normalised."""
        import torch

        split = self._ready.split("train")
        if repeat not in self._chosen:
            rng = seeding.generator(self._dataset.split_seed, seeding.Purpose.PROXY, 0, repeat)
            size = min(self._images, len(split) // BATCHES)
            order = torch.from_numpy(rng.permutation(len(split))[: BATCHES * size]).to(split.labels.device)
            self._chosen[repeat] = [split.at(part) for part in order.split(size)]
        return [(self._ready.normalise(images, memory_format), answers) for images, answers in self._chosen[repeat]]

    @property
    def _ready(self) -> "DeviceData":
        from nasrun.training.data import DeviceData

        if self._data is None:
            self._data = DeviceData(self._dataset.load(), self._runtime.device)
        return self._data

    def reference(self, size: int, names: Collection[str]) -> Reference | None:
        """What architectures are ranked among by some scores: a sample of the space, the same in every run. None where
        none of the scores is made of ranks. Architectures that cannot be scored are left out."""
        ranked = parts_of([name for name in names if name in RANKED], self._rank_sum)
        if not ranked:
            return None
        rng = seeding.generator(self._dataset.split_seed, seeding.Purpose.PROXY, 1)
        rows = []
        for number in range(size):
            genome = self._space.sample(rng)
            seed = seeding.integer(self._dataset.split_seed, seeding.Purpose.PROXY, 1 + number)
            try:
                rows.append(self.scores(genome, seed, ranked))
            except Exception:  # as a trial of it would: a space may hold what cannot be built
                continue
        if not rows:
            raise RuntimeError(f"none of {size} architectures of the search space could be scored")
        return Reference({name: [row[name] for row in rows] for name in ranked})


def _no_loss(outputs: "torch.Tensor", answers: "torch.Tensor") -> "torch.Tensor":
    raise AssertionError("no score that was asked for has a loss")
