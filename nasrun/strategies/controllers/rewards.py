"""The reward of a policy for a score: the score itself, as in ENAS, or one adjusted by earlier scores (I-ENAS).

A score is higher if a trial is better. A failed or infeasible trial has a score of minus infinity.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping


class Reward(ABC):
    """A function of a trial's score and of the scores before it."""

    @abstractmethod
    def __call__(self, score: float) -> float:
        """The finite reward of a score, which is remembered; -inf is the score of a failed trial."""

    def notes(self) -> Mapping[str, int]:
        """Statistics of the scores so far."""
        return {}


class EnasReward(Reward):
    """The reward is the score.

    Source: Pham et al., "Efficient Neural Architecture Search via Parameter Sharing", ICML 2018, section 2.2. A failed
    trial has the reward `penalty`, or the worst score so far if that is lower (as with losses, whose scores are
    negative), so that failing is never better than a measured score.
    """

    def __init__(self, penalty: float) -> None:
        self._worst = penalty

    def __call__(self, score: float) -> float:
        if score == -float("inf"):
            return self._worst
        self._worst = min(self._worst, score)
        return score


class IEnasReward(Reward):
    """The reward is the accuracy times its ratio to the mean of the last ones, or a small `penalty` if it is far below
    the mean.

    Source: "Improving the Efficient Neural Architecture Search via Rewarding Modifications" (I-ENAS), equation 1 and
    algorithm 1. With `avg` the mean of the last `window` accuracies before this one and s = acc / avg: `penalty` if s
    <= `threshold`, else acc * s.

    Inferred, because the paper does not say or contradicts itself: every accuracy enters the mean (algorithm 1 appends
    only one per epoch, the text says "the previous 10 networks"). The first accuracy is its own reward, as in algorithm
    1, and so is any while the mean is 0. A failed trial has the reward `penalty` and does not enter the mean. An
    accuracy below 0, which only a synthetic evaluator can give, counts as 0.
    """

    def __init__(self, window: int, threshold: float, penalty: float) -> None:
        self._threshold, self._penalty = threshold, penalty
        self._accuracies: deque[float] = deque(maxlen=window)
        self._compared = self._penalised = 0

    def notes(self) -> Mapping[str, int]:
        """How many accuracies were compared with a mean, and how many of them got the penalty."""
        return {"compared": self._compared, "penalised": self._penalised}

    def __call__(self, score: float) -> float:
        if score == -float("inf"):
            return self._penalty
        accuracy = max(score, 0.0)
        average = sum(self._accuracies) / len(self._accuracies) if self._accuracies else 0.0
        self._accuracies.append(accuracy)
        if not average:
            return accuracy
        share = accuracy / average
        self._compared += 1
        self._penalised += share <= self._threshold
        return self._penalty if share <= self._threshold else accuracy * share
