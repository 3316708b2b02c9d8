"""Runs that kill their own process after so many calls of a method: no moment is out of reach, none is by chance.

They are forked from one process that has imported what they need, since importing takes longer than such a run.
"""

import importlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["nasrun.cli.main", "nasrun.runner.run", "nasrun.training.loop", "torch._dynamo"])


def killed(words: Sequence[str], method: str, after: int, log: Path) -> None:
    """The command on some words, dead after so many calls of a method (`MODULE:CLASS.METHOD`); what it prints goes into
    `log`."""
    process = FORKED.Process(target=_run, args=(list(words), method, after, str(log)))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL, log.read_text()


def _run(words: list[str], method: str, after: int, log: str) -> None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    module, _, place = method.partition(":")
    owner, _, name = place.partition(".")
    kind = getattr(importlib.import_module(module), owner)
    done, left = getattr(kind, name), after

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal left
        result = done(*arguments, **named)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(kind, name, counted)
    sys.argv = ["nasrun", *words]
    from nasrun.cli.main import main

    sys.exit(main())
