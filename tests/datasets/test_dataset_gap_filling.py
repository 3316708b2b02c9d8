"""Gap filling: the clouds, the cut into regions, what the parts hold, and the Blue Marble as it comes."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nasrun.core import Task
from nasrun.datasets import DatasetError, Split, Splits, splitting
from nasrun.datasets.base import target_statistics
from nasrun.datasets.clouds import cloud_gaps
from nasrun.datasets.gap_filling import GapFilling
from tests.support import fingerprint, with_options
from tests.training.auto_encoders import smooth

PARTS = ("train", "validation", "test")


def numbered(height: int = 150, width: int = 170) -> np.ndarray:
    """A picture of which every pixel has a value of its own."""
    return np.arange(height * width, dtype=np.float32).reshape(height, width)


@pytest.fixture
def small(tmp_path: Path) -> Callable[..., GapFilling]:
    """Makes the data set of a small picture of bytes, or of another one."""

    def make(picture: np.ndarray | None = None, **options: Any) -> GapFilling:
        path = tmp_path / "picture.npy"
        np.save(path, smooth() if picture is None else picture)
        return with_options(
            GapFilling, path=str(path), **{"size": 16, "region": 40, "patches": None, "contrast": 0.0, **options}
        )

    return make


@pytest.fixture(scope="module")
def marble() -> Splits:
    """The Blue Marble with all options as they come."""
    return GapFilling().load()


@given(st.integers(2, 24), st.floats(0.01, 0.9), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_every_mask_covers_the_share_that_is_asked_for(size: int, coverage: float, seed: int) -> None:
    masks = cloud_gaps(3, size, coverage, np.random.default_rng(seed))
    assert masks.dtype == np.uint8
    assert masks.shape == (3, size, size)
    expected = min(max(1, round(coverage * size * size)), size * size - 1)
    assert (masks.sum((1, 2)) == expected).all()
    assert masks.max() == 1
    assert (masks == cloud_gaps(3, size, coverage, np.random.default_rng(seed))).all()


def test_gaps_hang_together_like_clouds_and_do_not_wrap_around() -> None:
    masks = cloud_gaps(400, 32, 0.3, np.random.default_rng(0)).astype(bool)
    beside = masks[:, :, 1:][masks[:, :, :-1]].mean()
    across = masks[:, :, 0][masks[:, :, -1]].mean()
    assert beside > 0.75
    assert across < 0.3
    # No part of a patch is hidden more often than another.
    assert abs(masks.mean(0).reshape(4, 8, 4, 8).mean((1, 3)) - 0.3).max() < 0.05
    assert len({mask.tobytes() for mask in masks}) == 400


@given(st.lists(st.integers(0, 12), min_size=1, max_size=60), st.floats(0.01, 0.9), st.integers(0, 3))
def test_a_cut_along_groups_parts_none_of_them(groups: list[int], fraction: float, seed: int) -> None:
    numbers = np.array(groups, dtype=np.int64)
    kept, cut_off = splitting.cut_groups(numbers, fraction, np.random.default_rng(seed))
    assert sorted([*kept, *cut_off]) == list(range(len(groups)))
    assert (np.sort(kept) == kept).all()
    assert (np.sort(cut_off) == cut_off).all()
    assert not set(numbers[kept]) & set(numbers[cut_off])
    assert len(kept)
    count = len(set(groups))
    assert len(set(numbers[cut_off])) == min(max(1, round(fraction * count)), count - 1)


def test_a_split_refuses_targets_and_weights_of_other_shapes_and_types() -> None:
    images, labels = np.zeros((2, 3, 4, 5), dtype=np.uint8), np.zeros(2, dtype=np.int64)
    targets, weights = np.zeros((2, 1, 4, 5), dtype=np.float32), np.ones((2, 1, 4, 5), dtype=np.uint8)
    assert len(Split(images, labels, targets, weights)) == 2
    for wrong in (targets.astype(np.float64), targets[:1], targets[:, :, :3], targets[:, 0]):
        with pytest.raises(ValueError, match="targets must be"):
            Split(images, labels, wrong)
    for wrong in (weights.astype(np.float32), weights[:1], weights[:, 0], 2 * weights, 0 * weights):
        with pytest.raises(ValueError, match="weights must be"):
            Split(images, labels, targets, wrong)
    with pytest.raises(ValueError, match="weights must come with targets"):
        Split(images, labels, None, weights)


def test_input_target_and_weights_tell_of_the_same_pixels(small: Callable[..., GapFilling]) -> None:
    data = small(coverage=0.4)
    assert data.task == Task("gap_filling", 3, 16, 16, outputs=2, kind="regression")
    splits = data.load()
    for name in PARTS:
        part: Split = getattr(splits, name)
        assert part.targets is not None
        assert part.weights is not None
        assert part.images.shape == (len(part), 3, 16, 16)
        assert part.images.flags.c_contiguous
        assert part.targets.dtype == np.uint8
        assert (part.images[:, 2:] == 255 * part.weights).all()
        assert (part.images[:, :2] == part.targets * (1 - part.weights)).all()
        assert (part.weights.sum((1, 2, 3)) == round(0.4 * 256)).all()
        assert not part.labels.any()


def test_every_patch_is_one_of_the_picture(small: Callable[..., GapFilling]) -> None:
    picture = smooth()
    windows = {picture[:, y : y + 16, x : x + 16].tobytes() for y in range(185) for x in range(245)}
    whole = small(picture).load().whole_training
    assert whole.targets is not None
    assert len(whole) > 50
    assert all(patch.tobytes() in windows for patch in whole.targets)


@pytest.mark.parametrize("stride", [None, 3, 20])
def test_no_pixel_is_in_two_parts(small: Callable[..., GapFilling], stride: int | None) -> None:
    splits = small(numbered(), stride=stride).load()
    seen = [{int(value) for value in np.unique(getattr(splits, name).targets)} for name in PARTS]
    assert all(seen)
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]
    if stride is None:  # without overlap every pixel is in one patch at most
        assert sum(map(len, seen)) == sum(getattr(splits, name).targets.size for name in PARTS)
        # Regions: 3 rows of 40 pixels and one of 30, each of 4 columns of 40; the last column is too narrow.
        assert sum(len(getattr(splits, name)) for name in PARTS) == 12 * 2 * 2 + 4 * 1 * 2


def test_the_scale_is_that_of_the_training_part(small: Callable[..., GapFilling]) -> None:
    splits = small(train_samples=40).load()
    train = splits.train
    assert train.targets is not None
    assert train.weights is not None
    assert len(train) == 40
    assert splits.target_mean == pytest.approx(train.targets.mean((0, 2, 3)), rel=1e-12)
    assert splits.target_std == pytest.approx(train.targets.std((0, 2, 3)), rel=1e-9)
    known = train.targets.transpose(1, 0, 2, 3)[:, train.weights[:, 0] == 0] / 255
    mask = 1 - train.weights.mean(), train.weights.mean()
    assert splits.mean == pytest.approx([*known.mean(1), mask[1]], rel=1e-9)
    assert splits.std == pytest.approx([*known.std(1), (mask[0] * mask[1]) ** 0.5], rel=1e-9)
    assert splits.left_out is not None
    assert splits.left_out.targets is not None
    assert len(splits.whole_training) == 40 + len(splits.left_out) + len(splits.validation)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_constant_band_is_not_scaled(dtype: type) -> None:
    targets = np.stack((np.full((5, 4, 4), 7.3), np.arange(80).reshape(5, 4, 4)), 1).astype(dtype)
    mean, std = target_statistics(targets)
    assert mean == pytest.approx((float(targets[0, 0, 0, 0]), 39.5))
    assert std == pytest.approx((1.0, np.arange(80).std()))


def test_seeds_change_what_they_are_for(small: Callable[..., GapFilling]) -> None:
    base, again, gaps, cut = (small(**o).load() for o in ({}, {}, {"gap_seed": 1}, {"split_seed": 1}))
    prints = [fingerprint(small(**o)) for o in ({}, {}, {"gap_seed": 1}, {"split_seed": 1}, {"coverage": 0.31})]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 4
    assert (base.train.images == again.train.images).all()
    assert np.array_equal(base.train.targets, gaps.train.targets)  # type: ignore[arg-type]
    assert (base.train.weights != gaps.train.weights).any()
    assert base.test.targets.tobytes() != cut.test.targets.tobytes()  # type: ignore[union-attr]


def test_fewer_patches_are_some_of_more(small: Callable[..., GapFilling]) -> None:
    def patches(splits: Splits) -> set[bytes]:
        return {patch.tobytes() for name in PARTS for patch in getattr(splits, name).targets}

    few, more = small(patches=30).load(), small(patches=60).load()
    assert (len(patches(few)), len(patches(more))) == (30, 60)
    assert patches(few) < patches(more)
    assert {p.tobytes() for p in few.test.targets} <= {p.tobytes() for p in more.test.targets}  # type: ignore[union-attr]


def test_patches_that_show_nothing_are_passed_over(small: Callable[..., GapFilling]) -> None:
    picture = smooth()
    picture[:, :, :130] = 90
    whole = small(picture, contrast=0.05).load()
    for name in PARTS:
        targets = getattr(whole, name).targets
        spread = (targets.std((2, 3)) / picture.std((1, 2))).mean(1)
        assert (spread >= 0.05 - 1e-6).all()
    everything = small(picture).load()
    assert sum(len(getattr(everything, name)) for name in PARTS) > 1.5 * sum(
        len(getattr(whole, name)) for name in PARTS
    )


def test_other_numbers_than_bytes_stay_what_they_are(small: Callable[..., GapFilling]) -> None:
    kelvin = (smooth(1).astype(np.float64)[0] / 255 * 50 + 260).astype(np.float32)
    kelvin[:, 100:108] = np.nan
    kelvin[20, 30] = np.inf
    splits = small(kelvin).load()
    for name in PARTS:
        part: Split = getattr(splits, name)
        assert part.targets is not None
        assert part.weights is not None
        assert part.targets.dtype == np.float32
        assert np.isfinite(part.targets).all()
        seen = part.weights == 0
        inner = seen & (part.targets > np.nanpercentile(kelvin[np.isfinite(kelvin)], 0.2))
        inner &= part.targets < np.nanpercentile(kelvin[np.isfinite(kelvin)], 99.8)
        # The input holds the nearest of 256 levels of the range.
        slope, start = np.polyfit(part.images[:, :1][inner], part.targets[inner], 1)
        assert abs(part.images[:, :1][inner] * slope + start - part.targets[inner]).max() < 0.51 * slope
    assert splits.target_mean == pytest.approx((splits.train.targets.mean(dtype=np.float64),))  # type: ignore[union-attr]
    assert 255 < splits.target_mean[0] < 310


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patches": 5000}, "dataset.patches=5000: only 130 exist; use fewer"),
        ({"region": 260}, "dataset.region=260: 192 patches lie in 1 region; training, validation and test need"),
        ({"region": 130, "patches": 5}, "dataset.region=130: 5 patches lie in 2 regions; "),
        ({"contrast": 9.0}, "dataset.region=40: 0 patches lie in 0 regions; "),
        ({"train_samples": 5000}, "dataset.train_samples=5000: must be at most "),
    ],
)
def test_options_that_the_picture_does_not_allow(
    small: Callable[..., GapFilling], options: dict[str, Any], words: str
) -> None:
    with pytest.raises(DatasetError) as caught:
        small(**options).load()
    assert str(caught.value).startswith(words)


def test_a_picture_of_which_nothing_is_known_is_refused(small: Callable[..., GapFilling]) -> None:
    with pytest.raises(DatasetError, match=r"^dataset\.region=40: no pixel is known; "):
        small(np.full((100, 100), np.nan)).load()


def test_a_region_below_a_patch_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"^region=31: must be at least size=32, the side of a patch$"):
        with_options(GapFilling, region=31)


def test_the_blue_marble_as_it_comes(marble: Splits) -> None:
    assert [len(getattr(marble, name)) for name in PARTS] == [2968, 310, 722]
    assert marble.train.images.shape[1:] == (4, 32, 32)
    assert marble.classes == ()
    assert marble.background == 0.0
    for name in PARTS:
        part: Split = getattr(marble, name)
        assert part.targets is not None
        assert part.weights is not None
        assert (part.weights.sum((1, 2, 3)) == round(0.3 * 1024)).all()
        # No part is much easier than another: whoever answers the mean of the training part is off by about 1.
        mean, std = (np.array(numbers)[:, None, None] for numbers in (marble.target_mean, marble.target_std))
        assert 0.8 < (((part.targets - mean) / std) ** 2).mean() < 1.2


def test_the_gaps_are_what_they_were_when_they_were_first_recorded() -> None:
    # Results name their data by their options: the same options must mean the same patches for ever.
    data = GapFilling()
    assert fingerprint(data) == "5a737e90d93a3bc109dc30f67f81b7ba64c48b9aa33f24213dde69cdf14d6777"
    assert len(pickle.dumps(data)) < 1000
    assert data.load() is data.load()
