"""The section `search_space`: the architectures, and training settings that are searched with them."""

from collections.abc import Mapping
from typing import Any

from nasrun.config.given import Given, Section
from nasrun.config.sections import create, kind_of, mapping
from nasrun.core import Evaluator, SearchSpace
from nasrun.core.options import ConfigError, first_line, show
from nasrun.spaces.recipe_genes import KEY, take_options, with_genes

GROUP = "search_space"


def space_of(content: Mapping[str, Any]) -> SearchSpace:
    """The search space of a config."""
    section = mapping(dict(content), GROUP)
    options = take_options(section, GROUP)
    given = content.get(GROUP)
    chosen = Section(section, given.thing) if isinstance(given, Section) else section
    space = create({**content, GROUP: chosen}, GROUP, SearchSpace)  # type: ignore[type-abstract]
    try:
        return with_genes(space, options)
    except ValueError as error:
        raise ConfigError(f"{GROUP}.{first_line(error)}") from error


def given_content(content: dict[str, Any], given: Mapping[str, Given]) -> dict[str, Any]:
    """A config whose groups are replaced by objects of the calling program. Its genes also apply to a given space."""
    sections = {group: one.section for group, one in given.items()}
    genes = mapping(content, GROUP).get(KEY)
    if GROUP in sections and genes is not None:
        sections[GROUP] = Section({**sections[GROUP], KEY: genes}, sections[GROUP].thing)
    return {**content, **sections}


def check_genes(space: SearchSpace, content: Mapping[str, Any]) -> None:
    """ConfigError if training settings are genes but the evaluator does not use training settings."""
    if not space.scaled_settings:
        return
    section = content.get("evaluator")
    kind = section.thing if isinstance(section, Section) else kind_of(dict(content), "evaluator", Evaluator)  # type: ignore[type-abstract]
    if not getattr(kind, "follows_recipe", False):
        given = show((space.section or {}).get(KEY))
        raise ConfigError(
            f"{GROUP}.{KEY}={given}: training settings need evaluator=train; "
            f"{getattr(kind, '__name__', type(kind).__name__)} does not use them"
        )
