"""`nasrun --help`: the config groups and their options, one line each, from the first comment of every YAML file.

Imports neither Hydra nor torch, so that it takes a fraction of a second.
"""

import difflib
from pathlib import Path

from nasrun.core.config_files import GROUPS, conf_dir

HEAD = """\
nasrun: neural architecture search from the command line

usage:
  nasrun [GROUP=OPTION ...] [KEY=VALUE ...]     one run
  nasrun -m GROUP=A,B KEY=1,2 ...               a sweep: every combination
  nasrun resume DIR [trials=N] [--salvage]      continue or extend a run or a sweep; --salvage: damaged journal
  nasrun rerun DIR                              repeat a run from its record, and check that it is equal
  nasrun pack DIR                               runs as one file to share, without data and paths
  nasrun unpack FILE.zip                        the runs of such a file as a folder
  nasrun status DIR...                          the state of runs or sweeps on any machine
  nasrun watch DIR...                           the same as a live page for a browser on this machine
  nasrun stop DIR...                            end runs or sweeps as Ctrl-C does, from any terminal
  nasrun report DIR                             write the tables and plots again
  nasrun compare DIR... [by=KEY]                compare runs, with statistics over seeds
  nasrun export DIR [--format onnx]             the best network as files for other programs
  nasrun predict DIR IMAGE_OR_FOLDER...         classify image files; --csv FILE: as a table
  nasrun reproduce NAME                         compare a paper's figures with own runs; without NAME: list them

  e.g. nasrun strategy=aging_evolution dataset=fashion_mnist
"""

TAIL = """
Keys of an option are given as GROUP.KEY=VALUE, e.g. evaluator.epochs=5. All keys of a run: nasrun --cfg job
dry_run=true checks a command and prints its plan. Your own YAML files: --config-dir FOLDER
"""

VERBS = ("resume", "rerun", "report", "compare", "export", "predict", "pack", "unpack", "status", "stop", "watch")
SHOWN = (*GROUPS, "experiment")
REPRODUCTION = "reproduction"
"""The folder of reproductions; not a config group, because each one is several sweeps."""


def help_text() -> str:
    """The whole help text."""
    parts = [HEAD]
    for group in (*SHOWN, REPRODUCTION):
        files = sorted((conf_dir() / group).glob("*.yaml"))
        width = max((len(path.stem) for path in files), default=0)
        parts.append(f"\n{group}:")
        parts += [f"\n  {path.stem:<{width}}  {_first_comment(path)}" for path in files]
        parts.append("\n")
    parts.append("\nkeys:")
    parts += [f"\n  {name:<13} {text}" for name, text in _top_level_keys()]
    return "".join(parts) + "\n" + TAIL.rstrip()


def suggest(word: str) -> str:
    """A suggestion for a word that is neither a verb nor key=value."""
    meanings: dict[str, list[str]] = {verb: [f"{verb} DIR"] for verb in VERBS}
    meanings |= {"reproduce": ["reproduce NAME"], "unpack": ["unpack FILE.zip"]}
    for group in SHOWN:
        meanings.setdefault(group, []).append(f"{group}=OPTION")
        for path in sorted((conf_dir() / group).glob("*.yaml")):
            meanings.setdefault(path.stem, []).append(f"{group}={path.stem}")
    for path in sorted((conf_dir() / REPRODUCTION).glob("*.yaml")):
        meanings.setdefault(path.stem, []).append(f"reproduce {path.stem}")
    section = ""
    for name, _ in _top_level_keys():
        section, key = (section, f"{section}.{name.strip()}") if name.startswith(" ") else (name, name)
        meanings.setdefault(name.strip(), []).append(f"{key}=VALUE")
    close = difflib.get_close_matches(word, meanings, n=1)
    return f"did you mean {' or '.join(meanings[close[0]])}?" if close else "see nasrun --help"


def _first_comment(path: Path) -> str:
    """The first comment line of a YAML file that is not a Hydra directive."""
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = (line.lstrip("# ") for line in lines if line.startswith("#") and not line.startswith("# @package"))
    return next(comments, "")


def _top_level_keys() -> list[tuple[str, str]]:
    """Names and comments of the keys of the main config."""
    keys = []
    for line in (conf_dir() / "config.yaml").read_text(encoding="utf-8").splitlines():
        name, separator, rest = line.partition(":")
        if separator and "#" in rest and name.strip() and not line.startswith(("#", "hydra")):
            indent = "" if not line.startswith(" ") else "  "
            value, _, comment = rest.partition("#")
            keys.append((f"{indent}{name.strip()}", f"{comment.strip()} [{value.strip()}]"))
        elif separator and line[:1].isalpha() and name not in ("defaults", "hydra"):
            keys.append((name, rest.partition("#")[2].strip()))
    return [key for key in keys if key[0].strip() not in ("output_subdir",)]
