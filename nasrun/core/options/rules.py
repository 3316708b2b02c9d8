"""Rules that an annotation can add to a type: `Annotated[int, AtLeast(1)]`."""

from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class AtLeast:
    """A number of at least `low`."""

    low: float

    def refuse(self, value: Any) -> str | None:
        return None if value >= self.low else f"must be at least {self.low}"


@dataclass(frozen=True)
class Above:
    """A number above `low`."""

    low: float

    def refuse(self, value: Any) -> str | None:
        return None if value > self.low else f"must be above {self.low}"


@dataclass(frozen=True)
class Between:
    """A number from `low` to `high`, both included unless `open_high`."""

    low: float
    high: float
    open_high: bool = False

    def refuse(self, value: Any) -> str | None:
        if self.low == self.high:
            return None if value == self.low else f"must be {self.low}"
        inside = self.low <= value < self.high if self.open_high else self.low <= value <= self.high
        top = f"below {self.high}" if self.open_high else f"{self.high}"
        return None if inside else f"must be from {self.low} to {top}"


@dataclass(frozen=True)
class NotEmpty:
    """A list or string that is not empty and has no duplicates."""

    def refuse(self, value: Any) -> str | None:
        if not value:
            return "must not be empty"
        if isinstance(value, list) and len(set(value)) < len(value):
            return "must not hold the same entry twice"
        return None


@dataclass(frozen=True)
class IsPath:
    """Text that names a file or folder. Paths relative to the working directory are found again when a run is reopened
    (`nasrun.storage.paths`). `names`: words that are not paths but have a special meaning."""

    names: tuple[str, ...] = ()

    def refuse(self, value: Any) -> str | None:
        return None


Positive = Annotated[int, AtLeast(1)]

FilePath = Annotated[str, IsPath()]

Fraction = Annotated[float, Between(0, 1)]
