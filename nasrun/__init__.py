"""nasrun: neural architecture search, from the command line and from Python.

```python
import nasrun

run = nasrun.run(["strategy=aging_evolution", "trials=50"])
print(run.best, run.final)
```

The public interface is `run`, `sweep`, `resume`, `load_run`, `compare` and `AskTell`, and the classes to subclass.
`docs/api.md` describes it with tested examples. Names are imported lazily.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nasrun.core.telemetry import switch_off_telemetry

if TYPE_CHECKING:
    from nasrun.api.ask_tell import AskTell
    from nasrun.api.comparison import Comparison, compare
    from nasrun.api.results import Model, Run, RunTrial, load_run
    from nasrun.api.runs import resume, run, sweep
    from nasrun.core import Cost, Evaluator, Measurement, Objective, Proposal, SearchSpace, Strategy, Task, Trial
    from nasrun.core.options import ConfigError
    from nasrun.datasets import Dataset
    from nasrun.runner.errors import RunError
    from nasrun.storage.journal import JournalError

__version__ = "0.2.0"
__docformat__ = "google"

_HOME = {
    "AskTell": "nasrun.api.ask_tell",
    **dict.fromkeys(("Comparison", "compare"), "nasrun.api.comparison"),
    **dict.fromkeys(("Model", "Run", "RunTrial", "load_run"), "nasrun.api.results"),
    **dict.fromkeys(("resume", "run", "sweep"), "nasrun.api.runs"),
    **dict.fromkeys(
        ("Cost", "Evaluator", "Measurement", "Objective", "Proposal", "SearchSpace", "Strategy", "Task", "Trial"),
        "nasrun.core",
    ),
    "ConfigError": "nasrun.core.options",
    "Dataset": "nasrun.datasets",
    "JournalError": "nasrun.storage.journal",
    "RunError": "nasrun.runner.errors",
}
"""The module that defines each public name."""

__all__ = [
    "AskTell",
    "Comparison",
    "ConfigError",
    "Cost",
    "Dataset",
    "Evaluator",
    "JournalError",
    "Measurement",
    "Model",
    "Objective",
    "Proposal",
    "Run",
    "RunError",
    "RunTrial",
    "SearchSpace",
    "Strategy",
    "Task",
    "Trial",
    "__version__",
    "compare",
    "load_run",
    "resume",
    "run",
    "sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOME[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


# At import, because some libraries read their switch when they are imported, and all processes import nasrun first.
switch_off_telemetry()
