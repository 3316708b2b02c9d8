"""Another process that has imported what tests need; each question is answered in a fork of it.

For tests of what holds in any other process: importing takes longer than the answer.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SERVER = """
import json, os, sys, traceback

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
names = {}
exec(sys.argv[1], names)
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            answer = {"value": eval(json.loads(line), names)}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        print(json.dumps({"error": f"ended with status {status}"}), file=answers, flush=True)
"""


class Forks:
    """A process that has run `code`. Hashes of strings are others than in this one, so that an order taken from a set
    would show."""

    def __init__(self, code: str) -> None:
        seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER, code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def value(self, expression: str) -> Any:
        """The value of a Python expression in that process, as JSON."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(expression) + "\n")
        stdin.flush()
        answer = stdout.readline()
        assert answer, "the process is gone"
        found = json.loads(answer)
        assert "error" not in found, found["error"]
        return found["value"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


@contextmanager
def forks(code: str) -> Iterator[Forks]:
    """A process that has run `code`, for as long as the scope lasts."""
    made = Forks(code)
    try:
        yield made
    finally:
        made.close()
