"""Roles of the arrays in an `.npz` file, from the names that nasrun, Keras, MedMNIST and others use."""

import re
from collections.abc import Iterable

from nasrun.datasets.part_names import PATTERN, TEST, TRAIN, VALIDATION

PREFIXES = {TRAIN: "", VALIDATION: "val_", TEST: "test_"}
"""Prefixes of the roles of each part: `images`, `val_labels`, ..."""

_KINDS = "(?P<images>images?|imgs?|x|data)|(?P<labels>labels?|y|targets?)"
_SEPARATOR = r"[_\-. ]?"
_FORMS = (
    re.compile(rf"(?:(?:{PATTERN}){_SEPARATOR})?(?:{_KINDS})"),
    re.compile(rf"(?:{_KINDS}){_SEPARATOR}(?:{PATTERN})"),
)


class AmbiguousNamesError(ValueError):
    """Two arrays could have the same role."""


def role_of(name: str) -> str | None:
    """The role of an array by its name: `images`, `labels`, or these prefixed with `val_` or `test_`; None for other
    names."""
    for form in _FORMS:
        if match := form.fullmatch(name.lower()):
            found = {group for group, text in match.groupdict().items() if text is not None}
            [kind] = found & {"images", "labels"}
            part = next(iter(found - {kind}), TRAIN)
            return PREFIXES[part] + kind
    return None


def roles_of(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The name of the array for each role found, and the sorted names of all other arrays.

    An array with the exact name of its role takes precedence over other candidates; AmbiguousNamesError if none has it.
    """
    candidates: dict[str, list[str]] = {}
    others = []
    for name in sorted(names):
        role = role_of(name)
        if role is None:
            others.append(name)
        else:
            candidates.setdefault(role, []).append(name)
    chosen = {}
    for role, found in candidates.items():
        if len(found) > 1 and role not in found:
            raise AmbiguousNamesError(f"{' and '.join(found)} could both be {role}; name the right one {role}")
        chosen[role] = role if role in found else found[0]
        others += [name for name in found if name != chosen[role]]
    return chosen, sorted(others)
