"""`nasrun --help`: the groups and their options, a line each, read from the first comment of every YAML file.

Imports neither Hydra nor torch: it answers in a fraction of a second.
"""

import difflib
from pathlib import Path

from nasrun.core.config_files import GROUPS, conf_dir

HEAD = """\
nasrun: neural architecture search from the command line

usage:
  nasrun [GROUP=OPTION ...] [KEY=VALUE ...]     one run
  nasrun -m GROUP=A,B KEY=1,2 ...               a sweep: every combination
  nasrun resume DIR [trials=N] [--salvage]      go on with a run or a sweep, or extend; --salvage: damaged journal
  nasrun rerun DIR                              make a run again from its record, and say whether it is equal
  nasrun pack DIR, nasrun unpack FILE.zip       runs as one file for others, without data and paths
  nasrun status DIR...                          what runs or sweeps are at, wherever they run
  nasrun watch DIR...                           the same as a page that keeps up, for a browser of this machine
  nasrun stop DIR...                            end runs or sweeps as Ctrl-C does, from anywhere
  nasrun report DIR                             write tables and plots again
  nasrun compare DIR... [by=KEY]                runs side by side, with statistics over seeds
  nasrun export DIR [--format onnx]             the best network as files that other programs load
  nasrun predict DIR IMAGE_OR_FOLDER...         classes and probabilities for image files; --csv FILE: as a table
  nasrun reproduce NAME                         a paper's figures beside those of runs; without NAME: which there are

  e.g. nasrun strategy=aging_evolution dataset=fashion_mnist
"""

TAIL = """
Keys of an option are given as GROUP.KEY=VALUE, e.g. evaluator.epochs=5. All keys of a run: nasrun --cfg job
dry_run=true checks a command and shows what it would do. Your own YAML files: --config-dir FOLDER
"""

VERBS = ("resume", "rerun", "report", "compare", "export", "predict", "pack", "status", "stop", "watch")
SHOWN = (*GROUPS, "experiment")
REPRODUCTION = "reproduction"
"""What `nasrun reproduce` takes: no group of options, since each is several sweeps."""


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
    """What may have been meant by a word of the command line that is neither a verb nor key=value."""
    meanings: dict[str, list[str]] = {verb: [f"{verb} DIR"] for verb in VERBS}
    meanings["reproduce"] = ["reproduce NAME"]
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
    """The first comment line of a YAML file that is no Hydra directive."""
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
