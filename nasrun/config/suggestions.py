"""Suggestions for unknown keys."""

from collections.abc import Iterable

from omegaconf import DictConfig

from nasrun.core.options import join, nearest

EXPERIMENTS = {"from": "train_best", "trial": "train_best"}
"""Keys that exist only with a certain experiment."""
NOT_MEANT = ("hydra", "recipe", "vars")
"""Sections whose keys are not suggested; those of a recipe are settings of the evaluator."""


def meant_by(config: DictConfig, path: str, name: str, known: Iterable[str]) -> str:
    """What to type instead of the unknown key `name` in the section `path` (empty: the top level).

    A key of that name in other sections comes first, such as `evaluator.epochs` for `epochs`; else the nearest of the
    `known` ones.
    """
    if not path and name in EXPERIMENTS:
        return f"it is a key of experiment={EXPERIMENTS[name]}"
    sections = {str(key): node for key, node in config.items_ex(resolve=False) if isinstance(node, DictConfig)}
    having = [section for section, node in sections.items() if section not in NOT_MEANT and name in node]
    if having and "." not in path:
        return f"did you mean {' or '.join(repr(join(section, name)) for section in having)}?"
    return nearest(name, set(known))
