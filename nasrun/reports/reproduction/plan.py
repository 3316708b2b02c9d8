"""What is known of a reproduction before it runs: the paper's figures, the sweeps that measure them, and the claims.

Each is a file `conf/reproduction/NAME.yaml`:

```yaml
# MIHA on MNIST, as its authors ran it      <- the line that a list of them shows
paper: MIHA
source: where the figures are printed
scale: what is not as in the paper; "as published" where nothing is
steps:                                      # sweeps of `nasrun -m`, each in a folder of its name
  miha: experiment=miha_mnist seed=range(10)
  untouched: experiment=miha_mnist_baselines strategy=grid seed=range(10)
claims:
  - says: what the paper claims
    theirs: 0.974                           # or {value: 0.974, n: 10, deviation: 0.002}
    step: miha
    measure: test_accuracy                  # of each run; see `measures`
    where: {strategy.choose: selection}     # which runs of the step; all by default
  - says: it is better than the network that nobody touched
    theirs: "0.38 against 0.13"             # words: what is claimed is an order
    claimed: above                          # above | below | alike: the mean difference, run by run of the same seed
    step: miha
    measure: test_accuracy
    than: {step: untouched}                 # `step`, `where` and `measure` where they are others
```

`not_comparable: REASON` says of a claim that its figures can stand side by side and no more.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from nasrun.core.config_files import REPRODUCTIONS, conf_dir
from nasrun.core.options import ConfigError, nearest

ORDERS = ("above", "below", "alike")


@dataclass(frozen=True)
class Selection:
    """Runs of a step, and the measure of each. `genome`: of one architecture, whose repeats replace the runs."""

    step: str
    measure: str
    where: Mapping[str, str] = field(default_factory=dict)
    genome: str | None = None


@dataclass(frozen=True)
class Printed:
    """A figure of a paper: a mean over `n` runs with their sample deviation, if printed."""

    value: float
    n: int = 1
    deviation: float | None = None


@dataclass(frozen=True)
class Claim:
    """A paper's claim, and the runs to compare it with. `theirs`: a figure, or words if an order is claimed."""

    says: str
    theirs: Printed | str
    ours: Selection
    than: Selection | None = None
    claimed: Literal["above", "below", "alike"] = "above"
    not_comparable: str | None = None
    digits: int = 4


@dataclass(frozen=True)
class Reproduction:
    """A paper's claims and the sweeps that measure them. `steps`: the arguments of each sweep, by its folder's name."""

    name: str
    about: str
    paper: str
    source: str
    scale: str
    steps: Mapping[str, Sequence[str]]
    claims: Sequence[Claim]


def names() -> list[str]:
    """The available reproductions."""
    return sorted(path.stem for path in (conf_dir() / REPRODUCTIONS).glob("*.yaml"))


def read_reproduction(name: str) -> Reproduction:
    """The named reproduction; ConfigError if there is none, or its file is invalid."""
    if name not in names():
        raise ConfigError(f"{name}: no such reproduction; {nearest(name, names())}")
    return read_file(conf_dir() / REPRODUCTIONS / f"{name}.yaml")


def read_file(path: Path) -> Reproduction:
    """The reproduction in a file; ConfigError if something is missing or unknown there."""
    text = path.read_text(encoding="utf-8")
    about = text.partition("\n")[0].lstrip("# ")
    content = yaml.safe_load(text)
    try:
        steps = {str(step): tuple(shlex.split(words)) for step, words in content.pop("steps").items()}
        claims = tuple(_claim(one, steps) for one in content.pop("claims"))
        return Reproduction(path.stem, about, steps=steps, claims=claims, **content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}; the format is described in {__name__}") from None


def _claim(content: Mapping[str, Any], steps: Mapping[str, Any]) -> Claim:
    given = dict(content)
    keys: tuple[str, ...] = ("step", "measure", "where", "genome")
    own = {key: given.pop(key) for key in keys if key in given}
    ours = _selection(own, steps)
    than = _selection({**own, **given.pop("than")}, steps) if "than" in given else None
    theirs = given.pop("theirs")
    printed = theirs if isinstance(theirs, str) else Printed(**theirs) if isinstance(theirs, dict) else Printed(theirs)
    claim = Claim(theirs=printed, ours=ours, than=than, **given)
    if isinstance(printed, str) != (than is not None) or claim.claimed not in ORDERS:
        raise ValueError(f"{claim.says!r}: expected a figure, or words, `than` and `claimed`: {', '.join(ORDERS)}")
    return claim


def _selection(content: Mapping[str, Any], steps: Mapping[str, Any]) -> Selection:
    found = {**content, "where": {str(key): str(value) for key, value in (content.get("where") or {}).items()}}
    if found["step"] not in steps:
        raise ValueError(f"step {found['step']!r}: {nearest(found['step'], steps)}")
    return Selection(**found)
