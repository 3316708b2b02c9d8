"""Networks that train together on several cores: each core trains some of them from beginning to end.

torch's own threads share out every single operation and wait for one another after it. The operations here take
microseconds, so that the waiting costs a good part of them; and where another process holds one of the cores, all wait
for that core at each operation, which was measured to take fifty times as long. Threads that each train networks of
their own wait for each other once.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

MOST_THREADS = 4
"""Between torch's operations Python runs one thread at a time, which takes a tenth to a third of a step."""


LARGEST = 750_000
"""Parameters of a dense network that one thread trains. A larger one takes all threads, and trains alone."""


class StoppedError(Exception):
    """Raised in a thread that was told to stop, because another one failed or the user stopped the run."""


@contextlib.contextmanager
def tiny_is_zero(wanted: bool = True) -> Iterator[None]:
    """A scope in which, if `wanted`, numbers below 1.2e-38 count as zero in this thread, as on CUDA.

    The means of gradients that an optimizer keeps shrink by a factor per step where a gradient stays zero, as that of a
    pixel that is black in most images does, and reach such numbers after a thousand steps. A processor takes a hundred
    times as long for them: a step of five networks 784-256-16-10 on MNIST took 2.1 times as long with one in twenty.
    The flag is the thread's own, so this is only for what one thread computes alone.
    """
    import torch

    before = bool((torch.full((1,), 1e-38) * 0.5 == 0).item())
    torch.set_flush_denormal(wanted or before)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def fit_one_thread(models: "Sequence[torch.nn.Module]") -> bool:
    """Whether networks are trained by one thread each: plain dense ones that are not large (`LARGEST`).

    By the networks alone, not by how many there are: a sum is added up in another order by another number of threads.
    """
    from nasrun.training.dense.steps import dense_shape

    sizes = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    return all(dense_shape(model) is not None for model in models) and max(sizes) <= LARGEST


def shares(networks: int, threads: int) -> list[range]:
    """The places of the networks that each thread trains, as even as can be."""
    count = min(networks, threads, MOST_THREADS)
    cuts = [networks * number // count for number in range(count + 1)]
    return [range(*pair) for pair in pairwise(cuts)]


def in_parallel(works: Sequence[Callable[[], T]], stop: threading.Event) -> list[T]:
    """What the works return, each of them done in a thread of its own; torch does not use any more threads than these.

    Where one raises, or the user interrupts, `stop` is set, on which the others are expected to raise `StoppedError`.
    A single work is done in the calling thread. Tiny numbers are zero (`tiny_is_zero`).
    """
    import torch

    def alone(work: Callable[[], T]) -> T:
        with tiny_is_zero():
            return work()

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if len(works) == 1:
            return [alone(works[0])]
        with ThreadPoolExecutor(len(works), thread_name_prefix="nasrun-replicas") as pool:
            futures = [pool.submit(alone, work) for work in works]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                stop.set()
                raise
        return [future.result() for future in futures]
    finally:
        torch.set_num_threads(before)
