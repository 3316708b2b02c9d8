"""State that strategies with torch must not depend on or change: threads, generators, modes."""

import random
from collections.abc import Callable

import torch

from nasrun.core import Proposal

Proposals = Callable[[], list[Proposal]]
"""Makes a strategy and gives what it proposes."""


def check_threads(proposals: Proposals) -> None:
    """The number of threads makes no difference, and stays."""
    threads = torch.get_num_threads()
    runs = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            runs.append(proposals())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert runs[0] == runs[1]


def check_generators_and_modes(proposals: Proposals) -> None:
    """Global generators are neither used nor changed, and whether gradients are on neither."""
    before, python = torch.random.get_rng_state(), random.getstate()
    with torch.no_grad():
        first = proposals()
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert random.getstate() == python
    torch.manual_seed(12345)
    assert proposals() == first
