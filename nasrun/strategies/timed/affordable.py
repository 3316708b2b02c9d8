"""Which of the networks that people have found to work there is time for."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nasrun.core import Genome, SearchSpace, Task

LEAST_SEEN = 350_000
SLOWER = 0.7
"""Images that the best known network is trained on before it is worth more than a quicker one, each as often as it
comes; of quicker ones fewer, by this power of the ratio of their FLOPs. Of 4,800 images of CIFAR-10 that grow from half
their size, the wide ResNet-8 is a point behind the plain one after 170,000, which takes both 120 s, and half a point
ahead after 380,000, in 300 s. Of 45,000 of Fashion-MNIST the plain one is a point behind that with its first stride in
the stem after 130,000, in 60 s, and level with it after 500,000, in 180 s."""
LEAST_PASSES = 40
"""And so many passes, however many images there are: after 26 over 45,000 of Fashion-MNIST the wide ResNet-8 is 0.2
points behind the plain one, after 20 over 40,500 of CIFAR-10 half a point, in 600 s each."""
GROWTH = 2
"""A network that is larger than its authors made it needs more, by this power of the ratio of their FLOPs: at 98,000
parameters in place of 73,000 the same was half a point behind after 390,000 images."""
MOST_PASSES = 60
"""So many passes over few images are enough too."""
QUICK = 0.65
"""Of the FLOPs of a known network, those that the next one, for less time, has at most."""
NEARLY = 0.7
"""Sizes that would see a smaller share of what is wanted, by their FLOPs, are not timed."""


class Timing(NamedTuple):
    """A network, seconds that a pass over the training part takes it, and whether it is the best known, of any size."""

    genome: Genome
    seconds: float
    best: bool


def affordable(
    space: SearchSpace,
    task: Task,
    known: Sequence[Genome],
    passes: Callable[[float], float],
    wanted: float,
    seconds_of: Callable[[Genome], float],
) -> Timing:
    """Of some known networks, the best first, the largest that there is time to train for the `wanted` passes over the
    data; the smallest where there is time for none.

    Those looked at are the best, the first after it that takes clearly fewer FLOPs, and so on, all in the sizes
    that limits leave room for (`SearchSpace.sizes`), for which more passes are wanted. `passes`: how many there is time
    for, where one takes so many seconds. `seconds_of`: what one takes a network; called for few.
    """

    def flops(genome: Genome) -> int:
        return space.cost(genome, task).flops

    chain = [known[0]]
    for genome in known[1:]:
        chain += [genome] if flops(genome) < QUICK * flops(chain[-1]) else []
    kinds = [list(space.sizes(genome)) for genome in chain]
    sufficient, timings = [], []
    for kind, sizes in zip(chain, kinds, strict=True):
        best = kind == known[0]
        least = max(wanted, LEAST_PASSES) if best else wanted * (flops(kind) / flops(known[0])) ** SLOWER
        rate = None  # seconds for a FLOP
        for genome in sizes:
            enough = least * (flops(genome) / flops(sizes[-1])) ** GROWTH
            smallest = sizes is kinds[-1] and genome == sizes[-1]
            if rate is not None and passes(rate * flops(genome)) < NEARLY * enough and not smallest:
                continue
            timing = Timing(genome, seconds_of(genome), best)
            rate = timing.seconds / flops(genome)
            timings.append(timing)
            if passes(timing.seconds) >= enough:
                sufficient.append(timing)
                break
    return max(sufficient, key=lambda timing: flops(timing.genome)) if sufficient else timings[-1]


def wanted_passes(images: int) -> float:
    """Passes over so many images that a network is to be trained for."""
    return min(MOST_PASSES, LEAST_SEEN / images)
