"""Several objectives: the trials that no other beats in all of them, and their hypervolume."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from nasrun.core import Objective
from nasrun.storage.records import TrialRecord

MOST_OBJECTIVES = 3
"""Maximum number of objectives for which a run's hypervolume is computed: its cost grows by a factor of the front's
size with each more."""


def non_dominated(scores: np.ndarray) -> np.ndarray:
    """Indices, ascending, of the rows of scores (points, objectives), higher is better, that no other row dominates.

    One row dominates another if it is nowhere lower and somewhere higher; equal rows do not dominate each other.
    """
    scores = np.asarray(scores, dtype=float)
    if not len(scores):
        return np.array([], dtype=int)
    front: list[int] = []
    # In this order no row is dominated by a later one.
    for place in np.lexsort(-scores.T[::-1]).tolist():
        above = scores[front] >= scores[place]
        if not (above.all(axis=1) & (scores[front] > scores[place]).any(axis=1)).any():
            front.append(place)
    return np.sort(front)


def hypervolume(scores: np.ndarray, reference: np.ndarray) -> float:
    """The volume that points (points, objectives), higher is better, dominate above a reference point (objectives,).

    Source: Zitzler and Thiele 1998, "Multiobjective optimization using evolutionary algorithms: a comparative case
    study"; computed slice by slice (While et al. 2006, "A faster algorithm for calculating hypervolume", section III).
    Points that are not above the reference in all objectives do not count.
    """
    above = np.asarray(scores, dtype=float) - np.asarray(reference, dtype=float)
    above = above[(above > 0).all(axis=1)]
    return _volume(above[non_dominated(above)])


def _volume(points: np.ndarray) -> float:
    """The volume that points with positive coordinates dominate above the origin."""
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    heights = points[:, -1] - np.append(points[1:, -1], 0.0)
    if points.shape[1] == 2:
        return float(heights @ np.maximum.accumulate(points[:, 0]))
    slices = enumerate(heights.tolist())
    return math.fsum(height * _volume(points[: place + 1, :-1]) for place, height in slices if height)


def front_of(records: Mapping[int, TrialRecord], objective: Objective) -> list[TrialRecord]:
    """The trials that no other beats in all objectives, the best by the first objective first.

    Failed trials, and those that reuse another's result, are left out.
    """
    measured = _measured(records)
    scores = _scores(measured, objective)
    front = [measured[place] for place in non_dominated(scores).tolist()]
    return sorted(front, key=lambda record: (*(-score for score in objective.scores(record.measurements)),))


def describe_front(records: Mapping[int, TrialRecord], objective: Objective) -> dict[str, Any]:
    """The front for `summary.json`: `trials` (their numbers), the `reference` point by metric, and the `hypervolume`
    above it in the product of the metrics' units (None with more than three objectives)."""
    scores = _scores(_measured(records), objective)
    signs = np.array([1.0 if one.mode == "max" else -1.0 for one in objective.all])
    given = [one.reference for one in objective.all]
    worst = scores.min(axis=0) * signs if len(scores) else np.zeros(len(given))
    reference = [float(low) if one is None else one for one, low in zip(given, worst, strict=True)]
    told = len(given) <= MOST_OBJECTIVES and len(scores) > 0
    return {
        "trials": [record.trial.number for record in front_of(records, objective)],
        "reference": {one.metric: value for one, value in zip(objective.all, reference, strict=True)},
        "hypervolume": hypervolume(scores, np.array(reference) * signs) if told else None,
    }


def _measured(records: Mapping[int, TrialRecord]) -> list[TrialRecord]:
    ordered = [records[number] for number in sorted(records)]
    return [record for record in ordered if record.status == "ok" and record.trial.proposal.reuse_of is None]


def _scores(records: list[TrialRecord], objective: Objective) -> np.ndarray:
    """The scores of some trials, float (trials, objectives), higher is better."""
    found = [objective.scores(record.measurements) for record in records]
    return np.array(found, dtype=float).reshape(len(records), len(objective.all))
