"""Seeded selections of images by class: validation and test splits, and smaller training sets.

Every function takes the labels (or groups) and a generator, and returns sorted index arrays, so that a split keeps the
order of the files. Each call draws one permutation per class, in the order of the classes.
"""

import math

import numpy as np

Indices = np.ndarray
"""int64, one-dimensional, sorted, without repeats."""


def shares(counts: np.ndarray, fraction: float) -> np.ndarray:
    """The number of images per class taken by a stratified split: int64 (classes,).

    Largest-remainder rule: every class gets its share `fraction * count` rounded down, and the images missing from the
    rounded total go to the classes with the largest remainders (the lower class first on ties). Each class keeps at
    least one image, so a class with one image is never split. The total is `round(fraction * sum)` and at least 1, or
    less if classes with one image leave no more.
    """
    exact = [fraction * int(count) for count in counts]
    most = [max(0, int(count) - 1) for count in counts]
    taken = [math.floor(share) for share in exact]
    total = min(max(1, round(fraction * int(counts.sum()))), sum(most))
    order = sorted(range(len(taken)), key=lambda label: (taken[label] - exact[label], label))
    while sum(taken) < total:
        for label in order:
            if sum(taken) < total and taken[label] < most[label]:
                taken[label] += 1
    return np.array(taken, dtype=np.int64)


def balanced(counts: np.ndarray, size: int) -> np.ndarray:
    """The number of images per class in a balanced subset of `size`: int64 (classes,).

    Classes differ by at most one image, except that smaller classes contribute all their images. `size` must not exceed
    the sum of `counts`.
    """
    taken = np.zeros(len(counts), dtype=np.int64)
    while (missing := size - int(taken.sum())) > 0:
        open_classes = np.flatnonzero(taken < counts)
        step = missing // len(open_classes)
        if step == 0:
            taken[open_classes[:missing]] += 1
        else:
            taken[open_classes] += np.minimum(step, counts[open_classes] - taken[open_classes])
    return taken


def choose(labels: np.ndarray, wanted: np.ndarray, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """Indices of `wanted[c]` random images of each class c, and the indices of all others, both sorted.

    With the same generator state, a larger `wanted` selects a superset of a smaller one.
    """
    chosen = []
    for label, number in enumerate(wanted):
        members = np.flatnonzero(labels == label)
        chosen.append(rng.permutation(members)[: int(number)])
    inside = np.sort(np.concatenate(chosen)).astype(np.int64)
    outside = np.ones(len(labels), dtype=bool)
    outside[inside] = False
    return inside, np.flatnonzero(outside)


def cut(labels: np.ndarray, classes: int, fraction: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """A seeded stratified split: the indices that stay, and those of about `fraction` of each class that are split
    off."""
    wanted = shares(np.bincount(labels, minlength=classes), fraction)
    inside, outside = choose(labels, wanted, rng)
    return outside, inside


def cut_groups(groups: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[Indices, Indices]:
    """A seeded split by groups, int64 (N,): the indices that stay, and those of about `fraction` of the groups.

    Groups are never divided. At least one group stays, and at least one is split off if there are two.
    """
    names, group = np.unique(groups, return_inverse=True)
    _, chosen = cut(np.zeros(len(names), dtype=np.int64), 1, fraction, rng)
    inside = np.isin(group, chosen)
    return np.flatnonzero(~inside), np.flatnonzero(inside)


def subset(labels: np.ndarray, classes: int, size: int, rng: np.random.Generator) -> Indices:
    """The indices of a seeded class-balanced subset of `size` images."""
    return choose(labels, balanced(np.bincount(labels, minlength=classes), size), rng)[0]
