"""What evaluator `train` does where memory runs out, and how it says why a training run failed. Imports torch then."""

import gc
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from nasrun.core.options import ConfigError, error_line, type_and_text
from nasrun.core.words import counted
from nasrun.hardware.measuring import HungError
from nasrun.training.settings import TrainSettings

T = TypeVar("T")


def within_memory(
    train: Callable[[TrainSettings, float], T], settings: TrainSettings, parts: int | None
) -> tuple[T, TrainSettings]:
    """What `train` gives, and the settings under which it gave it: where memory ran out, those of a second try, with
    each batch cut into `parts` (None: there is no second try).

    `train` is called with settings and with the seconds that were spent before. What it raises passes through; where
    memory runs out twice that is a TrainingError.
    """
    import torch

    from nasrun.training.micro_batches import is_out_of_memory
    from nasrun.training.outcomes import TrainingError

    started = time.monotonic()
    try:
        return train(settings, 0.0), settings
    except Exception as error:
        smaller = _smaller(settings, parts)
        if smaller is None or not is_out_of_memory(error):
            raise
    # Not in the handler: until its end the error holds on to all that the first try had in memory.
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    try:
        return train(smaller, time.monotonic() - started), smaller
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        text = (
            f"out of memory, with {counted(smaller.micro_batch or 0, 'image')} at a time too: {error_line(error, 300)}"
        )
        raise TrainingError(text, getattr(error, "history", ())) from error


def _smaller(settings: TrainSettings, parts: int | None) -> TrainSettings | None:
    """The settings with smaller micro-batches; None where there are none."""
    size = settings.micro_batch or settings.batch_size
    if parts is None or size == 1:
        return None
    return replace(settings, micro_batch=-(-size // parts))


def reason(error: Exception) -> str:
    """Why a job failed, in one line for the tables."""
    from nasrun.training.micro_batches import is_out_of_memory
    from nasrun.training.outcomes import TrainingError

    if isinstance(error, TrainingError | ConfigError | HungError):
        return error_line(error, 300)
    if is_out_of_memory(error):
        return f"out of memory: {' '.join(str(error).split())[:300]}".rstrip(": ")
    return type_and_text(error)
