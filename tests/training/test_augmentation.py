"""Erased and mixed images: where, how often, and the same draws each time."""

import pytest
import torch
from torch.nn import functional as F

from nasrun.training.augmentation import balanced_order, erase, mixed
from nasrun.training.settings import TrainSettings

FORMATS = [torch.contiguous_format, torch.channels_last]


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, channels: int = 3, height: int = 16, width: int = 12) -> torch.Tensor:
    """Images without a zero, so that what is erased shows."""
    return torch.rand(count, channels, height, width, generator=generator(1)) + 1


def erased(settings: TrainSettings, seed: int = 3, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Images before and after."""
    before = images(count)
    after = before.clone()
    erase(after, settings, generator(seed))
    return before, after


@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("options", [{"cutout": 6}, {"random_erasing": 0.5}, {"cutout": 5, "random_erasing": 1.0}])
def test_erasing_repeats_by_its_seed_in_every_memory_format(
    options: dict[str, float], memory_format: torch.memory_format
) -> None:
    settings = TrainSettings(**options)  # type: ignore[arg-type]
    _, first = erased(settings)
    again = images(4000).contiguous(memory_format=memory_format)
    erase(again, settings, generator())
    assert again.is_contiguous(memory_format=memory_format)
    assert torch.equal(again, first)
    assert not torch.equal(erased(settings, seed=4)[1], first)


def test_cutout_is_a_square_of_zeros_around_a_pixel_of_the_image() -> None:
    before, after = erased(TrainSettings(cutout=6))
    gone = after == 0
    assert torch.equal(after[~gone], before[~gone])
    assert torch.equal(gone, gone[:, :1].expand_as(gone))  # all channels alike
    area = gone[:, 0].flatten(1).sum(1)
    assert area.max() == 36
    assert area.min() == 9  # a corner
    rows, columns = gone[:, 0].any(2), gone[:, 0].any(1)
    assert torch.equal(area, rows.sum(1) * columns.sum(1))  # a rectangle
    whole = (rows.sum(1) == 6).float().mean().item()
    assert whole == pytest.approx(11 / 16, abs=0.03)  # of 16 rows, 11 hold a centre whose square fits
    # Each pixel near the middle is erased as often as any other.
    often = gone[:, 0].float().mean(0)[5:11, 4:8]
    assert often.max() - often.min() < 0.06
    assert often.mean().item() == pytest.approx(36 / (16 * 12), abs=0.02)


@pytest.mark.parametrize("side", [1, 7, 40])
def test_cutout_of_any_side(side: int) -> None:
    _, after = erased(TrainSettings(cutout=side), count=500)
    area = (after[:, 0] == 0).flatten(1).sum(1)
    assert area.min() >= 1
    assert area.max() == min(side, 16) * min(side, 12)


def test_random_erasing_puts_one_colour_into_a_rectangle_of_a_share_of_the_images() -> None:
    before, after = erased(TrainSettings(random_erasing=0.3))
    gone = (after != before).any(1)
    hit = gone.flatten(1).any(1)
    assert hit.float().mean().item() == pytest.approx(0.3, abs=0.03)
    shares, colours, ratios = [], [], []
    for number in hit.nonzero().view(-1).tolist():
        rows, columns = gone[number].any(1).nonzero().view(-1), gone[number].any(0).nonzero().view(-1)
        inside = after[number, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert bool((inside == inside[:, :1, :1]).all())
        shares.append(inside[0].numel() / (16 * 12))
        colours.append(inside[:, 0, 0])
        ratios.append(len(rows) / len(columns))
    assert min(shares) < 0.05
    assert 0.3 < max(shares) < 0.4
    assert min(ratios) < 0.5 < 2 < max(ratios)
    drawn = torch.stack(colours)
    assert drawn.mean().item() == pytest.approx(0, abs=0.1)  # standardised: the mean colour of the images
    assert drawn.std().item() == pytest.approx(1, abs=0.1)
    assert drawn.std(1).mean() > 0.5  # another value for each channel


def test_mixup_adds_up_neighbours_and_their_labels() -> None:
    given, labels = images(1000), torch.arange(1000) % 7
    results, shares = mixed(given, labels, 7, TrainSettings(mixup=0.4), generator())
    own, others = F.one_hot(labels, 7).float(), F.one_hot(labels.roll(1), 7).float()
    part = (shares * own).sum(1)  # labels of neighbours differ, but for one pair
    part[0] = (results[0, 0, 0, 0] - given[-1, 0, 0, 0]) / (given[0, 0, 0, 0] - given[-1, 0, 0, 0])
    part = part.view(-1, 1, 1, 1)
    torch.testing.assert_close(results, part * given + (1 - part) * given.roll(1, 0), atol=1e-4, rtol=0)
    torch.testing.assert_close(shares, part.view(-1, 1) * own + (1 - part.view(-1, 1)) * others, atol=1e-4, rtol=0)
    assert torch.allclose(shares.sum(1), torch.ones(1000))
    # Beta(0.4, 0.4): mean 1/2, variance 1 / (4 (2 * 0.4 + 1)).
    assert part.mean().item() == pytest.approx(0.5, abs=0.04)
    assert part.var().item() == pytest.approx(1 / 7.2, rel=0.1)


def test_cutmix_puts_in_a_rectangle_and_counts_its_pixels() -> None:
    given, labels = images(1000), torch.arange(1000) % 7
    results, shares = mixed(given, labels, 7, TrainSettings(cutmix=1.0), generator())
    foreign = (results != given).all(1)
    assert torch.equal(
        results[foreign.unsqueeze(1).expand_as(results)], given.roll(1, 0)[foreign.unsqueeze(1).expand_as(given)]
    )
    kept = 1 - foreign.flatten(1).float().mean(1)
    own = (shares * F.one_hot(labels, 7)).sum(1)
    assert torch.allclose(own[1:], kept[1:], atol=1e-6)
    assert torch.allclose(shares.sum(1), torch.ones(1000))
    rows, columns = foreign.any(2).sum(1), foreign.any(1).sum(1)
    assert torch.equal(foreign.flatten(1).sum(1), rows * columns)
    assert kept.min() < 0.1
    assert kept.max() > 0.95
    # Half on average for squares that fit; those that jut out are smaller.
    assert 0.55 < kept.mean().item() < 0.75


def test_with_both_each_batch_has_one_of_them() -> None:
    given, labels, stream = images(8), torch.arange(8), generator()
    added = 0
    for _ in range(200):
        results, _ = mixed(given, labels, 8, TrainSettings(mixup=1.0, cutmix=1.0), stream)
        pixels = (results == given) | (results == given.roll(1, 0))
        added += int(not pixels.all())
        assert pixels.all() or not pixels.flatten(1).all(1).any()
    assert 70 < added < 130


@pytest.mark.parametrize("options", [{"mixup": 0.2}, {"cutmix": 1.0}])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_mixing_repeats_by_its_seed_and_keeps_the_memory_format(
    options: dict[str, float], memory_format: torch.memory_format
) -> None:
    given, labels = images(32).contiguous(memory_format=memory_format), torch.arange(32) % 5
    settings = TrainSettings(**options)  # type: ignore[arg-type]
    first, again, other = (mixed(given, labels, 5, settings, generator(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[0].is_contiguous(memory_format=memory_format)
    assert first[1].dtype == torch.float32


def test_one_image_is_mixed_with_itself() -> None:
    given = images(1)
    results, shares = mixed(given, torch.tensor([2]), 3, TrainSettings(mixup=0.2), generator())
    torch.testing.assert_close(results, given)
    assert shares.tolist() == [[0, 0, 1]]


def test_a_balanced_order_has_all_classes_equally_often() -> None:
    labels = torch.tensor([0] * 60 + [1] * 9 + [3] * 31)
    order = balanced_order(labels, generator())
    counts = labels[order].bincount()
    assert len(order) == 100
    assert counts.sum() == 100
    assert counts.tolist()[2] == 0
    assert (counts[[0, 1, 3]] - 100 / 3).abs().max() <= 2
    times = order.bincount(minlength=100)
    assert times[:60].max() == 1
    assert set(times[60:69].tolist()) <= {3, 4}  # all of a class come again before any comes twice as often
    assert torch.equal(order, balanced_order(labels, generator()))
    assert not torch.equal(order, balanced_order(labels, generator(9)))
    assert labels[order[:33]].unique().tolist() == [0, 1, 3]
