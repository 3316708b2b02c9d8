"""Which array of an `.npz` file is what: the names that nasrun, Keras, MedMNIST and others give them."""

import re
from collections.abc import Iterable

from nasrun.datasets.part_names import PATTERN, TEST, TRAIN, VALIDATION

PREFIXES = {TRAIN: "", VALIDATION: "val_", TEST: "test_"}
"""What the roles of a part's arrays begin with: `images`, `val_labels`, ..."""

_KINDS = "(?P<images>images?|imgs?|x|data)|(?P<labels>labels?|y|targets?)"
_SEPARATOR = r"[_\-. ]?"
_FORMS = (
    re.compile(rf"(?:(?:{PATTERN}){_SEPARATOR})?(?:{_KINDS})"),
    re.compile(rf"(?:{_KINDS}){_SEPARATOR}(?:{PATTERN})"),
)


class AmbiguousNamesError(ValueError):
    """Two arrays that could both be the same thing."""


def role_of(name: str) -> str | None:
    """What an array of this name holds: `images`, `labels`, or these after `val_` or `test_`; None for other names."""
    for form in _FORMS:
        if match := form.fullmatch(name.lower()):
            found = {group for group, text in match.groupdict().items() if text is not None}
            [kind] = found & {"images", "labels"}
            part = next(iter(found - {kind}), TRAIN)
            return PREFIXES[part] + kind
    return None


def roles_of(names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """The name of the array of each role that is there, and the names of all other arrays, sorted.

    An array that has the name of its role goes before others that could be it; AmbiguousNamesError where none has.
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
