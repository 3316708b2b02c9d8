"""What is said of a key that is not there: the one that was probably meant."""

from collections.abc import Iterable

from omegaconf import DictConfig

from nasrun.core.options import join, nearest

EXPERIMENTS = {"from": "train_best", "trial": "train_best"}
"""Keys that a config has under one experiment alone, and which."""
NOT_MEANT = ("hydra", "recipe", "vars")
"""Sections whose keys are no settings of a run: those of a recipe are values of the evaluator's."""


def meant_by(config: DictConfig, path: str, name: str, known: Iterable[str]) -> str:
    """What to type in place of the key `name` of the section `path` (empty: of the whole config), which has none.

    A key of that name in other sections comes first, as `evaluator.epochs` of `epochs`; else the nearest of those that
    are `known` in this place.
    """
    if not path and name in EXPERIMENTS:
        return f"it is a key of experiment={EXPERIMENTS[name]}"
    sections = {str(key): node for key, node in config.items_ex(resolve=False) if isinstance(node, DictConfig)}
    having = [section for section, node in sections.items() if section not in NOT_MEANT and name in node]
    if having and "." not in path:
        return f"did you mean {' or '.join(repr(join(section, name)) for section in having)}?"
    return nearest(name, set(known))
