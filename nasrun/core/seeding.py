"""All seeds of a run: one config seed, and one independent random stream per purpose, trial and repeat.

Streams are `numpy.random.SeedSequence(seed, spawn_key=(purpose, trial, repeat))`. No global generator is used or
changed outside of a job.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Purpose of a stream. The numbers are part of every recorded result: add new ones, never renumber."""

    STRATEGY = 0
    JOB = 1
    SPLIT = 2
    FINAL = 3
    INIT = 4
    ORDER = 5
    AUGMENT = 6
    DROPOUT = 7
    PREVIEW = 8
    SHARED = 9
    BASELINE = 10
    PROXY = 11


def sequence(seed: int, purpose: Purpose, trial: int = 0, repeat: int = 0) -> np.random.SeedSequence:
    """The seed sequence of one purpose, trial and repeat."""
    return np.random.SeedSequence(seed, spawn_key=(int(purpose), trial, repeat))


def generator(seed: int, purpose: Purpose, trial: int = 0, repeat: int = 0) -> np.random.Generator:
    """A NumPy generator of that stream."""
    return np.random.default_rng(sequence(seed, purpose, trial, repeat))


def integer(seed: int, purpose: Purpose, trial: int = 0, repeat: int = 0) -> int:
    """A 63-bit integer of that stream: the seed of a job, or of a torch generator."""
    return int(sequence(seed, purpose, trial, repeat).generate_state(1, np.uint64)[0]) >> 1
