"""What parts of a run answer, which may be of a user's classes."""

import json
import sysconfig
import traceback
from pathlib import Path
from typing import Any

from nasrun.core.evaluator import Evaluator, EvaluatorWrapper
from nasrun.core.options import brief
from nasrun.core.search_space import SearchSpace
from nasrun.core.strategy import Strategy, StrategyWrapper
from nasrun.core.wrapped_space import WrappedSpace

_INSTALLED = (
    Path(__file__).parents[1],
    *map(Path, {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}),
)


class AnswerError(ValueError):
    """A part of a run answered something invalid; the text names its class and what is wrong, in one line."""


def lines(answer: Any, what: str) -> list[str]:
    """Messages for the user; AnswerError if they are no list of lines. `what` names the method that returned them."""
    if isinstance(answer, list | tuple) and all(isinstance(line, str) for line in answer):
        return [" ".join(line.split()) for line in answer]
    raise AnswerError(f"{what} returned {brief(answer)}; expected a list of lines of text")


def is_json(value: Any, *, allow_nan: bool = False) -> bool:
    """Whether a file can hold a value as JSON."""
    try:
        json.dumps(value, allow_nan=allow_nan)
    except (TypeError, ValueError):
        return False
    return True


def is_users(part: object) -> bool:
    """Whether a part of a run is of a user's class, not of nasrun's."""
    return not type(part).__module__.startswith("nasrun.")


def place_of(error: BaseException) -> str | None:
    """FILE:LINE of the innermost call in code that is neither of nasrun nor of an installed library; None if there is
    none."""
    for call in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(call.filename)
        if not call.filename.startswith("<") and not any(path.is_relative_to(folder) for folder in _INSTALLED):
            return f"{path.name}:{call.lineno}"
    return None


def innermost(part: Any) -> Any:
    """The space, strategy or evaluator inside of all wrappers."""
    while isinstance(part, WrappedSpace | StrategyWrapper | EvaluatorWrapper):
        part = part.inner
    return part


def name_of(part: SearchSpace | Strategy | Evaluator) -> str:
    """The name of the class inside of all wrappers."""
    return type(innermost(part)).__name__
