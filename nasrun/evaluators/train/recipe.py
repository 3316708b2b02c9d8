"""Settings of training that are `auto`: what they come to is decided by the data, once per run, and recorded.

A recipe is an option of the config group `recipe`, a value for each of `KEYS`, which the evaluator's own keys refer to.
"""

import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from nasrun.core import SearchSpace, Task, seeding
from nasrun.core.option_files import option_values
from nasrun.core.options import ConfigError, first_line, show
from nasrun.datasets import Dataset
from nasrun.datasets.mirrors import Mirrors, mirrors_of
from nasrun.training.settings import TrainSettings

AUTO, TEST_FLIP = "auto", "test_flip"
FEW_IMAGES = 10_000
LARGE_IMAGE = 32
SAMPLES = 5
FIRST_SIZE, LEAST_SIDE, LARGEST_FIRST = 0.5, 14, 0.75
"""Images begin at half their sides, and not below 14 pixels; larger shares than three quarters save too little."""


class Recipe(NamedTuple):
    """A recipe for some data: the option of the group, and why it was chosen."""

    name: str
    reason: str


KEYS = tuple(option_values("recipe", "plain"))
"""The settings that make up a recipe."""


def settled(
    given: Mapping[str, Any], dataset: Dataset, space: SearchSpace, recorded: Mapping[str, Any] | None = None
) -> tuple[TrainSettings, dict[str, Any]]:
    """The settings with those that are `auto` as the data have them, or as the record of an interrupted run tells, and
    the record. ConfigError where they contradict each other."""
    values, record = settle(given, dataset, space) if recorded is None else (dict(given), dict(recorded))
    try:
        return TrainSettings(**{**values, **record.get("settings", {})}), record
    except ValueError as error:
        raise ConfigError(f"evaluator.{first_line(error)}") from error


def settle(given: Mapping[str, Any], dataset: Dataset, space: SearchSpace) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings with those that are `auto` replaced, and a record of it: `name` of the recipe (None where only
    single settings are chosen), `reason`, and `settings`, what was chosen. The record is empty where nothing is `auto`.

    Reads the data where it has to.
    """
    wanted = [name for name, value in given.items() if value == AUTO]
    if not wanted:
        return dict(given), {}
    name, reasons, chosen = None, [], dict.fromkeys(wanted, AUTO)
    if not all(name in (*_RULES, TEST_FLIP) for name in wanted):
        name, reason = choose(dataset, space)
        values = option_values("recipe", name)
        if given.get("optimizer", AUTO) not in (AUTO, values["optimizer"]):
            values["lr"] = None  # the other optimizer's usual one
        reasons, chosen = [reason], {key: values[key] for key in wanted}
    values, more = by_data({**given, **chosen}, dataset, space)
    chosen = {key: values[key] for key in wanted}
    reasons += [reason for reason in more if reason not in reasons]
    return values, {"name": name, "reason": "; ".join(reasons), "settings": chosen}


def by_data(values: Mapping[str, Any], dataset: Dataset, space: SearchSpace) -> tuple[dict[str, Any], list[str]]:
    """Settings with those that the data decide, and the reasons in words. Mirror images are for the test where they are
    for the training, whoever decides that."""
    wanted = [name for name, value in values.items() if value == AUTO and name != TEST_FLIP]
    found = {name: _RULES[name](dataset, space) for name in wanted}
    reasons = dict.fromkeys(reason for _, reason in found.values())
    settled = {**values, **{name: value for name, (value, _) in found.items()}}
    if settled.get(TEST_FLIP) == AUTO:
        settled[TEST_FLIP] = settled.get("flip", False)
    return settled, list(reasons)


def choose(dataset: Dataset, space: SearchSpace) -> Recipe:
    """The recipe for a data set and the networks of a space."""
    task = dataset.task
    if task.kind != "classification":
        return Recipe("plain", f"the task is {task.kind}")
    if not is_normalised(space, task):
        return Recipe("plain", "not all networks of the search space have convolutions and batch normalisation")
    return Recipe("tiny_data" if len(dataset.load().train) < FEW_IMAGES else "strong", _images(dataset))


def is_normalised(space: SearchSpace, task: Task) -> bool:
    """Whether some random networks of a space have convolutions and batch normalisation, as high rates need them.

    A network that cannot be built fails as a trial, with its own reason, and says nothing here.
    """
    import torch

    rng, needed = seeding.generator(0, seeding.Purpose.PREVIEW), {torch.nn.Conv2d, torch.nn.BatchNorm2d}
    for _ in range(SAMPLES):
        with contextlib.suppress(Exception):
            kinds = {type(module) for module in space.outline(space.sample(rng), task).modules()}
            if not needed <= kinds:
                return False
    return True


def _images(dataset: Dataset) -> str:
    return f"{len(dataset.load().train):,} training images of {dataset.task.height} x {dataset.task.width}"


def _batch_size(dataset: Dataset, space: SearchSpace) -> tuple[int, str]:
    return (64 if len(dataset.load().train) < FEW_IMAGES else 128), _images(dataset)


def _shift(dataset: Dataset, space: SearchSpace) -> tuple[int, str]:
    size = min(dataset.task.height, dataset.task.width)
    if size < LARGE_IMAGE:
        return max(1, size // 14), _images(dataset)
    return size // (16 if len(dataset.load().train) < FEW_IMAGES else 8), _images(dataset)


def _flip(dataset: Dataset, space: SearchSpace) -> tuple[bool, str]:
    found = mirrors_of(dataset) if dataset.task.kind == "classification" else Mirrors(False, "not known of regression")
    return found.allowed, f"{'mirrored' if found.allowed else 'not mirrored'}: {found.reason}"


def _first_size(dataset: Dataset, space: SearchSpace) -> tuple[float, str]:
    task = dataset.task
    first = min(1.0, max(FIRST_SIZE, LEAST_SIDE / min(task.height, task.width)))
    if task.kind != "classification" or first > LARGEST_FIRST or not takes_sizes(space, task, first):
        return 1.0, _images(dataset)
    return first, _images(dataset)


def check_sizes(space: SearchSpace, dataset: Dataset, settings: TrainSettings) -> None:
    """ConfigError where images are to begin smaller than networks of the space take them."""
    first = settings.first_size
    if first < 1 and not takes_sizes(space, dataset.task, first):
        name = type(space).__name__
        raise ConfigError(
            f"evaluator.first_size={first}: networks of {name} take images of one size alone; needs 1, or another space"
        )


def takes_sizes(space: SearchSpace, task: Task, size: float) -> bool:
    """Whether some random networks of a space take images of a share of their sides, too."""
    import torch

    rng, sides = seeding.generator(0, seeding.Purpose.PREVIEW), (round(task.height * size), round(task.width * size))
    for _ in range(SAMPLES):
        genome = space.sample(rng)
        with contextlib.suppress(Exception):
            model = space.build(genome, task).eval()
            try:
                with torch.inference_mode():
                    model(torch.zeros(1, task.channels, *sides))
            except RuntimeError:
                return False
    return True


_RULES = {"batch_size": _batch_size, "shift": _shift, "flip": _flip, "first_size": _first_size}
"""What decides single settings that a recipe leaves to the data; the value, and the reason in words."""


def summary(record: Mapping[str, Any]) -> str:
    """The record of `settle` in a line."""
    plain = option_values("recipe", "plain")
    other = [f"{name}={show(value)}" for name, value in record["settings"].items() if value != plain[name]]
    name = f"recipe {record['name']}" if record["name"] else "settings by the data"
    return f"{name}: {record['reason']}; {' '.join(other) or 'as plain'}"


def without_auto(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are known before the data are read; where mirroring is not, it is on."""
    known = {name: value for name, value in given.items() if value != AUTO}
    return {**known, "flip": True} if given.get("flip") == AUTO else known
