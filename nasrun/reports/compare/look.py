"""The look of a comparison in print: names, colours and order of the groups, sizes of plots, from a YAML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from nasrun.core.options import ConfigError, check_section, error_line, nearest, show
from nasrun.reports.compare.question import Question
from nasrun.reports.compare.runs import Comparison


@dataclass(kw_only=True, frozen=True)
class Look:
    """`labels`: displayed names of groups. `colours`: by group or by its label, in matplotlib's notation. `order`:
    groups that come first, in this order. `width`, `height`: of the curve plots, in inches; None: the default."""

    labels: dict[str, str] = field(default_factory=dict)
    colours: dict[str, str] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    width: float | None = None
    height: float | None = None

    def applied(self, comparison: Comparison) -> Comparison:
        """The comparison with its groups renamed and ordered; ConfigError if a group is named that does not exist."""
        return self.applied_to_all({"": comparison})[""]

    def applied_to_all(self, comparisons: Mapping[str, Comparison]) -> dict[str, Comparison]:
        """The same as `applied` for comparisons whose groups may differ: a name is valid if one of them has it."""
        self._check(list(dict.fromkeys(group for one in comparisons.values() for group in one.groups)))
        return {name: self._renamed(one) for name, one in comparisons.items()}

    def _check(self, groups: Sequence[str]) -> None:
        for key, names in (("labels", self.labels), ("order", self.order), ("colours", self.colours)):
            known = [*groups, *self.labels.values()]
            for name in names:
                if name not in (groups if key != "colours" else known):
                    raise ConfigError(f"--style: {key}: {show(name)}: no such group; {nearest(name, groups)}")
        if len({self.shown(group) for group in groups}) < len(groups):
            raise ConfigError("--style: labels: two groups have the same name")

    def _renamed(self, comparison: Comparison) -> Comparison:
        groups = comparison.groups
        ordered = [
            *(name for name in self.order if name in groups),
            *(name for name in groups if name not in self.order),
        ]
        return replace(comparison, groups={self.shown(name): groups[name] for name in ordered})

    def asked(self, question: Question) -> Question:
        """A question with the displayed name of its reference group."""
        return question if question.reference is None else replace(question, reference=self.shown(question.reference))

    def shown(self, group: str) -> str:
        """The displayed name of a group."""
        return self.labels.get(group, group)

    def colour(self, group: str) -> str | None:
        """The colour of a group, given its displayed name; None: the next default colour."""
        original = next((name for name, label in self.labels.items() if label == group), group)
        return self.colours.get(group, self.colours.get(original))


PLAIN_LOOK = Look()


def read_look(path: Path) -> Look:
    """The look described by a YAML file; ConfigError if it is invalid."""
    try:
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"--style {path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--style {path}: is not YAML ({error_line(error)})") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"--style {path}: expected keys, such as labels, colours, order, width, height")
    look = Look(**check_section(Look, dict(content), ""))
    from matplotlib.colors import is_color_like

    wrong = next((colour for colour in look.colours.values() if not is_color_like(colour)), None)
    if wrong is not None:
        raise ConfigError(f"--style {path}: colours: {show(wrong)}: not a colour; write it as '#0072B2' or by name")
    return look
