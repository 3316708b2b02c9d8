"""Metrics of classifiers against what they are by definition."""

import math

import pytest
import torch

from nasrun.training.losses import CrossEntropy, class_weights
from nasrun.training.metrics import auc, balanced_accuracy, confusion, macro_f1
from nasrun.training.settings import TrainSettings

LABELS = torch.tensor([0, 0, 0, 0, 1, 1, 3])
ANSWERS = torch.tensor([0, 0, 1, 4, 1, 0, 3])
OUTPUTS = torch.nn.functional.one_hot(ANSWERS, 5).float()


def test_confusion_counts_answers_by_true_class() -> None:
    found = confusion(OUTPUTS, LABELS).tolist()
    assert found == [[2, 1, 0, 0, 1], [1, 1, 0, 0, 0], [0] * 5, [0, 0, 0, 1, 0], [0] * 5]


def test_balanced_accuracy_is_the_mean_share_recognised_of_the_classes_that_there_are() -> None:
    assert balanced_accuracy(OUTPUTS, LABELS) == pytest.approx((2 / 4 + 1 / 2 + 1) / 3)


def test_macro_f1_is_the_mean_over_the_classes_that_occur_or_are_answered() -> None:
    # Class 0: 2 of 4 recognised, 2 of 3 answers right; class 1: 1 of 2, 1 of 2; class 3: all; class 4: one answer.
    assert macro_f1(OUTPUTS, LABELS) == pytest.approx((4 / 7 + 1 / 2 + 1 + 0) / 4)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_the_share_of_pairs_in_the_right_order(classes: int, ties: bool) -> None:
    stream = torch.Generator().manual_seed(classes)
    labels = torch.randint(classes, (60,), generator=stream)
    outputs = torch.randn(60, classes, generator=stream) + 0.7 * torch.nn.functional.one_hot(labels, classes)
    if ties:  # whole numbers in few rows, so that many shares are equal
        outputs = outputs.round()
    shares = outputs.double().softmax(1)
    areas = []
    for label in range(classes):
        ours, others = shares[labels == label, label], shares[labels != label, label]
        right = (ours[:, None] > others).double() + 0.5 * (ours[:, None] == others).double()
        areas.append(right.mean().item())
    assert auc(outputs, labels) == pytest.approx(math.fsum(areas) / classes, abs=1e-9)


def test_auc_of_extremes() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    outputs = torch.tensor([[3.0, 0], [2, 0], [1, 0], [0, 0]])
    assert auc(outputs, labels) == 1
    assert auc(-outputs, labels) == 0
    assert auc(torch.zeros(4, 2), labels) == 0.5
    assert auc(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64)) == 0.5
    assert auc(outputs.repeat(1, 2)[:, :3], labels) > 0  # a third class without images is left out


def test_a_meter_adds_up_batches() -> None:
    outputs = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 4
    meter = CrossEntropy().meter("cpu", ("balanced_accuracy", "macro_f1", "auc"))
    for some in (slice(0, 20), slice(20, 50)):
        meter.add(outputs[some], labels[some])
    found = meter.metrics(50)
    assert list(found) == ["accuracy", "loss", "balanced_accuracy", "macro_f1", "auc"]
    assert found["auc"] == auc(outputs, labels)
    assert found["accuracy"] == pytest.approx((outputs.argmax(1) == labels).double().mean().item())
    assert set(CrossEntropy().meter("cpu").metrics(1)) == {"accuracy", "loss"}


def test_balanced_weights_make_classes_count_alike_and_the_mean_image_one() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [3])
    weights = class_weights(TrainSettings(class_weights="balanced"), labels, 4)
    assert weights is not None
    assert weights[labels].mean().item() == pytest.approx(1)
    assert (weights * labels.bincount(minlength=4)).tolist() == pytest.approx([10 / 3, 10 / 3, 0, 10 / 3])
    assert class_weights(TrainSettings(), labels, 4) is None
    given = class_weights(TrainSettings(class_weights=(1.0, 2.0, 1.0, 4.0)), labels, 4)
    assert given is not None
    assert given[labels].mean().item() == pytest.approx(1)
    assert (given / given[0]).tolist() == pytest.approx([1, 2, 1, 4])


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_a_weighted_loss_is_the_mean_over_the_images(smoothing: float) -> None:
    weights = torch.tensor([0.5, 2.0, 1.0])
    outputs, labels = torch.randn(8, 3, generator=torch.Generator().manual_seed(1)), torch.arange(8) % 3
    loss = CrossEntropy(smoothing, weights)
    logarithms = outputs.log_softmax(1)
    right = weights[labels] * logarithms[torch.arange(8), labels]
    spread = (weights * logarithms).sum(1) / 3
    expected = -((1 - smoothing) * right + smoothing * spread).mean()
    assert loss(outputs, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    # The same with labels as shares, and put together from parts.
    shares = torch.nn.functional.one_hot(labels, 3).float()
    assert loss(outputs, shares).item() == pytest.approx(expected.item(), rel=1e-5)
    parts = [loss(outputs[some], labels[some]) * len(labels[some]) / 8 for some in (slice(0, 5), slice(5, 8))]
    assert sum(parts).item() == pytest.approx(expected.item(), rel=1e-5)  # type: ignore[union-attr]
