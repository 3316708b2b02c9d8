"""Classes that runs of earlier versions name."""

import importlib
from pathlib import Path

import pytest

from nasrun.core.renamed import MOVED_MODULES, current_path

THEN = Path(__file__).with_name("classes_of_format_1.txt").read_text(encoding="utf-8").split()
"""All classes that the YAML files of format 1 named."""


@pytest.mark.parametrize("target", THEN)
def test_every_class_of_format_1_is_found(target: str) -> None:
    module, _, name = current_path(target).rpartition(".")
    assert isinstance(getattr(importlib.import_module(module), name), type)


def test_other_paths_stay_as_they_are() -> None:
    for target in ("nasrun.spaces.mlp.space.Mlp", "mine.Space", "Space", ""):
        assert current_path(target) == target


def test_no_path_leads_on_to_another() -> None:
    assert not set(MOVED_MODULES.values()) & set(MOVED_MODULES)
