"""What parts of a run answer, which may be of a user's classes."""

from typing import Any

from nasrun.core.options import brief


class AnswerError(ValueError):
    """A part of a run answered something invalid; the text names its class and what is wrong, in one line."""


def lines(answer: Any, what: str) -> list[str]:
    """Messages for the user; AnswerError if they are no list of lines. `what` names the method that returned them."""
    if isinstance(answer, list | tuple) and all(isinstance(line, str) for line in answer):
        return [" ".join(line.split()) for line in answer]
    raise AnswerError(f"{what} returned {brief(answer)}; expected a list of lines of text")
