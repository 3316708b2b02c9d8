"""Makes search spaces from their config sections: for archives, and for spaces that build on another.

Only classes of `nasrun.spaces` are made, so that a file can choose a space but cannot run code.
"""

import importlib
import re
from collections.abc import Mapping
from typing import Any

from nasrun.core import SearchSpace
from nasrun.core.option_files import option_classes
from nasrun.core.options import ConfigError, check_section, show
from nasrun.core.renamed import current_path
from nasrun.spaces.recipe_genes import take_options, with_genes

_TARGET = re.compile(r"nasrun\.spaces\.([a-z0-9_]+\.){1,2}[A-Za-z0-9]+")


def make_space(section: Mapping[str, Any]) -> SearchSpace:
    """The search space of a config section, `_target_` and options. ValueError if it is not one of nasrun's own, or its
    options are invalid."""
    options = dict(section)
    target = options.pop("_target_", None)
    target = current_path(target) if isinstance(target, str) else target
    if not isinstance(target, str) or not _TARGET.fullmatch(target):
        raise ValueError(f"_target_={show(target)}: expected a class of nasrun.spaces")
    module, _, name = target.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise ValueError(f"_target_={target}: there is no such search space") from None
    if not isinstance(kind, type) or not issubclass(kind, SearchSpace) or not kind.__module__.startswith("nasrun."):
        raise ValueError(f"_target_={target}: is not a search space")
    try:
        genes = take_options(options, "")
        space = kind(**check_section(kind, options, ""))
    except ConfigError as error:
        raise ValueError(str(error)) from None
    if space.section is None:
        space.section = {"_target_": target, **options}
    return with_genes(space, genes)


def spaces_with_supernet() -> list[str]:
    """The options of `search_space` whose networks can share their weights (`SearchSpace.supernet`)."""
    return [name for name, kind in option_classes("search_space").items() if kind.has_supernet]


def spaces_with_relaxation() -> list[str]:
    """The options of `search_space` whose operations can be mixed (`SearchSpace.relaxed`)."""
    spaces = option_classes("search_space").items()
    return [name for name, kind in spaces if kind.relaxed is not SearchSpace.relaxed]
