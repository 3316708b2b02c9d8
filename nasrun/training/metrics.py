"""What is measured of a classifier beside accuracy and loss, from its answers for a whole part of the data."""

from collections.abc import Sequence

import torch

from nasrun.training.outcomes import Metrics
from nasrun.training.settings import ExtraMetric


class Answers:
    """The answers of a classifier, gathered batch by batch on the device, for some of the `ExtraMetric`s.

    `balanced_accuracy`: mean over the classes of the share of their images that was recognised. `macro_f1`: mean over
    the classes of the harmonic mean of that share and of the share of the answers with this class that were right.
    `auc`: mean over the classes of the area under the curve of receiver operating characteristics, each class against
    all others by its softmax share (Hand and Till, 2001). Classes without images are left out, of F1 only those that
    are answered nowhere either: as in scikit-learn.
    """

    def __init__(self, names: Sequence[ExtraMetric]) -> None:
        self._names = names
        self._outputs: list[torch.Tensor] = []
        self._labels: list[torch.Tensor] = []

    def add(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Take note of a batch: outputs float (batch, classes), the logits, and labels int64 (batch,)."""
        if self._names:
            self._outputs.append(outputs)
            self._labels.append(labels)

    def metrics(self) -> Metrics:
        """What was asked for, by name."""
        if not self._names:
            return {}
        outputs, labels = torch.cat(self._outputs), torch.cat(self._labels)
        return {name: _MEASURES[name](outputs, labels) for name in self._names}


def confusion(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """How many images of each class got each answer: int64 (classes, classes), a row for each true class."""
    classes = outputs.shape[1]
    pairs = labels * classes + outputs.argmax(1)
    return torch.bincount(pairs, minlength=classes * classes).view(classes, classes)


def balanced_accuracy(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean share of recognised images over the classes that have any."""
    counts = confusion(outputs, labels).double()
    images = counts.sum(1)
    return float((counts.diagonal() / images)[images > 0].mean())


def macro_f1(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean F1 over the classes that have images or are answered."""
    counts = confusion(outputs, labels).double()
    total = counts.sum(0) + counts.sum(1)
    return float((2 * counts.diagonal() / total)[total > 0].mean())


def auc(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Mean area under the curve of each class against the others, over the classes that some images have and not all.

    That is the probability that an image of the class has a higher share than another image (Mann and Whitney's
    statistic), equal shares counting one half. 0.5 where there is but one class.
    """
    scores = outputs.double().softmax(1).t().contiguous()
    ordered = scores.sort(1).values
    # Places from 1; images of equal shares all have the mean of theirs.
    ranks = (torch.searchsorted(ordered, scores) + torch.searchsorted(ordered, scores, right=True) + 1).double() / 2
    inside = labels.unsqueeze(0) == torch.arange(len(scores), device=labels.device).unsqueeze(1)
    ours = inside.sum(1).double()
    others = len(labels) - ours
    areas = ((ranks * inside).sum(1) - ours * (ours + 1) / 2) / (ours * others)
    areas = areas[(ours > 0) & (others > 0)]
    return float(areas.mean()) if len(areas) else 0.5


_MEASURES = {"balanced_accuracy": balanced_accuracy, "macro_f1": macro_f1, "auc": auc}
