"""How tests spoil a run directory: its config, its journal, and code beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from nasrun.storage import journal
from nasrun.storage.journal import Line

WORDS = "search_space=sequential_cnn "
WORDS += "evaluator=synthetic dataset=synthetic strategy=aging_evolution strategy.population=3 strategy.sample=2"
QUIET = "trials=6 output.console=none output.plots=false"
Call = Callable[[str], Any]


def change_config(directory: Path, key: str, value: Any) -> None:
    path = directory / ".hydra" / "config.yaml"
    config = OmegaConf.load(path)
    OmegaConf.update(config, key, value, force_add=True)
    path.write_text(OmegaConf.to_yaml(config))


def change_journal(directory: Path, change: Callable[[Line], None], *, stop: str | None = None) -> None:
    """Change the events of a journal, each line whole again; what comes after the first event `stop` is left out."""
    path = directory / journal.NAME
    lines = []
    for event in journal.read(path):
        event.pop("crc", None)
        change(event)
        lines.append(journal.line_of(event))
        if event["event"] == stop:
            break
    path.write_bytes(b"".join(lines))


def plant(folder: Path) -> None:
    """A module that leaves a mark as soon as it is imported."""
    (folder / "planted.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Thing: pass\n")
