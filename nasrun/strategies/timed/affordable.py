"""Chooses the known networks that there is time to train."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from nasrun.core import Genome, SearchSpace, Task

LEAST_SEEN = 350_000
SLOWER = 0.7
"""Total images, counting repeats, that the best known network must see to be worth more than a faster one; a faster one
needs fewer, by this power of the ratio of their FLOPs. Measured: on 4,800 images of CIFAR-10 that grow from half their
size, the wide ResNet-8 is a point behind the plain one after 170,000 images (120 s for both), and half a point ahead
after 380,000 (300 s). On 45,000 images of Fashion-MNIST the plain one is a point behind the one with its first stride
in the stem after 130,000 (60 s), and level with it after 500,000 (180 s)."""
LEAST_PASSES = 40
"""Minimum number of passes, for any number of images: after 26 passes over 45,000 images of Fashion-MNIST the wide
ResNet-8 is 0.2 points behind the plain one, after 20 over 40,500 of CIFAR-10 half a point, in 600 s each."""
GROWTH = 2
"""A network larger than its published size needs more passes, by this power of the ratio of their FLOPs: at 98,000
parameters in place of 73,000 the same network was half a point behind after 390,000 images."""
MOST_PASSES = 60
"""Maximum number of passes wanted, which is enough for few images."""
QUICK = 0.65
"""Maximum FLOPs of the next, faster candidate, as a share of those of the network before it."""
NEARLY = 0.7
"""Sizes that would, by their FLOPs, see a smaller share than this of the wanted passes are not timed."""


class Timing(NamedTuple):
    """A network, its seconds per pass over the training data, and whether it is the best known one, in any size."""

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
    """The largest of some known networks, best first, that there is time to train for the `wanted` passes over the
    data; the smallest if there is time for none.

    Candidates are the best, the next that takes clearly fewer FLOPs, and so on, all in the sizes that the limits allow
    (`SearchSpace.sizes`), which need more passes. `passes`: number of passes that there is time for, given the seconds
    of one. `seconds_of`: seconds of one pass of a network; called for few networks.
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
        rate = None  # seconds per FLOP
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
    """Wanted number of passes over a number of images."""
    return min(MOST_PASSES, LEAST_SEEN / images)
