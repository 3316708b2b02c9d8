"""Write docs/options/*.md, a page per config group, from the YAML files and the classes that they name.

    python scripts/make_docs.py [FOLDER]

Also writes the table at the top of docs/reproductions.md, from docs/results/*.json, which `nasrun reproduce` made.

Nothing in these pages is written by hand, so that they stay up to date: tests/test_docs.py compares them with the
output of this script.
"""

import argparse
import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from nasrun.config.constraints import ConstraintOptions
from nasrun.config.objective import ObjectiveOptions
from nasrun.config.prescreen import PrescreenOptions
from nasrun.config.run_options import OutputOptions, RunOptions
from nasrun.core.config_files import GROUPS, conf_dir
from nasrun.core.option_files import bases, option_values
from nasrun.core.options import describe, options
from nasrun.evaluators.train.evaluator import Train
from nasrun.reports.reproduction.table import overview, read_tables
from nasrun.spaces.recipe_genes import RecipeOptions

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "options"
NOTE = "*Written by `python scripts/make_docs.py` from `{source}`: edit that, not this page.*\n"
ABOUT = {
    "search_space": ("Search spaces", "search_spaces.md"),
    "strategy": ("Strategies", "strategies.md"),
    "evaluator": ("Evaluators", "evaluators.md"),
    "recipe": ("Recipes", "evaluators.md#recipes"),
    "dataset": ("Data sets", "datasets.md"),
    "hardware": ("Hardware", "evaluators.md#hardware"),
    "tracker": ("Trackers", "trackers.md"),
}
TOP = {
    "": RunOptions,
    "search_space": RecipeOptions,
    "objective": ObjectiveOptions,
    "constraints": ConstraintOptions,
    "prescreen": PrescreenOptions,
    "output": OutputOptions,
}


class Key(NamedTuple):
    """A key of a YAML file: its dotted name, its value in the file, and the comment beside it."""

    name: str
    value: str
    comment: str


def main() -> None:
    """Write all pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, metavar="FOLDER", help="docs/options")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    path = folder.parent / "reproductions.md"
    if path.is_file():
        path.write_text(with_results(path.read_text(encoding="utf-8")), encoding="utf-8")


def with_results(page: str) -> str:
    """The page of reproductions with its first table, between two comments, rewritten."""
    start, end = "<!-- results -->\n", "<!-- end of results -->\n"
    before, _, rest = page.partition(start)
    return before + start + overview(read_tables(FOLDER.parent / "results")) + end + rest.partition(end)[2]


def pages() -> dict[str, str]:
    """All pages by file name."""
    made = {f"{group}.md": _group(group) for group in GROUPS}
    made |= {"experiment.md": _experiments(), "run.md": _run()}
    return {"README.md": _index(), **made}


def _index() -> str:
    lines = ["# All options\n", NOTE.format(source="conf/"), "| page | contents | options |\n|---|---|---|"]
    lines.append("| [run](run.md) | the keys that every run has: seed, trials, objective, constraints, output | |")
    for group in (*GROUPS, "experiment"):
        about = f"`{group}=NAME`" + (
            f"; explained in [{ABOUT[group][1]}](../{ABOUT[group][1]})" if group in ABOUT else ""
        )
        names = ", ".join(f"[`{path.stem}`]({group}.md#{path.stem})" for path in _files(group))
        lines.append(f"| [{group}]({group}.md) | {about} | {names} |")
    return "\n".join(lines) + "\n"


def _group(group: str) -> str:
    title, words = ABOUT[group]
    parts = [f"# {title}: all options\n", NOTE.format(source=f"conf/{group}/")]
    parts.append(f"`nasrun {group}=NAME {group}.KEY=VALUE`. Explanations and results: [{words}](../{words}).\n")
    parts += [_option(group, path) for path in _files(group)]
    return "\n".join(parts)


def _option(group: str, path: Path) -> str:
    """One option: what it is, the docstring of its class, and its keys."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if group == "recipe":
        return _recipe(path, content)
    module, _, name = option_values(group, path.stem)["_target_"].rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    parts = [f"## {path.stem}\n", f"{_text(_comments(path)[0]).rstrip('.')}.\n"]
    for default in content.get("defaults", []):
        if isinstance(default, Mapping):
            [(target, chosen)] = default.items()
            other = re.sub(r"^override /|@.*", "", target)
            parts.append(f"Chooses `{other}={chosen}` unless the command line does.\n")
    based = " and ".join(f"[`{base}`](#{base})" for base in bases(content) if "/" not in base)
    if based:
        parts.append(f"Like {based}, except:\n")
    else:
        about = inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0]
        parts.append(f"`{name}` in `{module}`: {_text(' '.join(about.split()))}\n")
    keys = [key for key in _all_keys(path) if not based or key.name in content]
    known = content.keys() if based else option_values(group, path.stem).keys()
    if {key.name for key in keys} != known - {"_target_", "defaults"}:
        raise ValueError(f"{path}: keys {sorted(known)}, read {sorted(key.name for key in keys)}")
    if keys:
        parts.append(_table(keys, {name: parameter.annotation for name, parameter in options(cls).items()}))
    return "\n".join(parts)


def _recipe(path: Path, content: Mapping[str, Any]) -> str:
    """A recipe: values for keys of evaluator `train`, whose page explains them."""
    evaluator = {key.name: key.comment for key in _keys(conf_dir() / "evaluator" / "train.yaml")}
    keys = [key._replace(comment=key.comment or evaluator[key.name]) for key in _keys(path) if key.name != "defaults"]
    parts = [f"## {path.stem}\n", f"{_text(_comments(path)[0]).rstrip('.')}.\n"]
    based = " and ".join(f"[`{name}`](#{name})" for name in bases(content))
    if based:
        parts.append(f"Like {based}, except:\n")
    parts.append(_table(keys, {name: parameter.annotation for name, parameter in options(Train).items()}))
    return "\n".join(parts)


def _run() -> str:
    """The keys of conf/config.yaml, which belong to no group."""
    path = conf_dir() / "config.yaml"
    kinds: dict[str, Any] = {"vars": dict[str, Any]}
    for section, cls in TOP.items():
        for name, parameter in options(cls).items():
            kinds[f"{section}.{name}" if section else name] = parameter.annotation
    keys = [key for key in _keys(path) if key.name in kinds]
    missing = set(kinds) - {key.name for key in keys}
    if missing:
        raise ValueError(f"{path}: {sorted(missing)} not found")
    head = ["# Keys of every run\n", NOTE.format(source="conf/config.yaml"), "`nasrun KEY=VALUE`.\n"]
    return "\n".join([*head, _table(keys, kinds)])


def _experiments() -> str:
    parts = ["# Experiments\n", NOTE.format(source="conf/experiment/")]
    parts.append(
        "`nasrun experiment=NAME`: other options and values in one file; what the command line says comes first. "
        "Results: [reproductions.md](../reproductions.md).\n"
    )
    for path in _files("experiment"):
        first, *others = _comments(path)
        blank = others.index("") if "" in others else len(others)
        commands, words = others[:blank], others[blank:]
        shown = "\n".join(commands) or f"nasrun experiment={path.stem}"
        parts.append(f"## {path.stem}\n\n{_text(first).rstrip('.')}.\n\n```\n{shown}\n```\n")
        parts += [_paragraph(paragraph) for paragraph in "\n".join(words).strip("\n").split("\n\n") if paragraph]
    return "\n".join(parts)


def _paragraph(text: str) -> str:
    """A paragraph of a comment, with its commands (indented lines) as code."""
    blocks: list[tuple[bool, list[str]]] = []
    for line in text.splitlines():
        code = line.startswith("  ")
        if not blocks or blocks[-1][0] != code:
            blocks.append((code, []))
        blocks[-1][1].append(line)
    made = []
    for code, lines in blocks:
        made.append(f"```\n{textwrap.dedent(chr(10).join(lines))}\n```" if code else _text("\n".join(lines)))
    return "\n\n".join(made) + "\n"


def _table(keys: list[Key], kinds: Mapping[str, Any]) -> str:
    lines = ["| key | default | takes | meaning |", "|---|---|---|---|"]
    for key in keys:
        takes = (
            describe(kinds[key.name])
            .replace(" that must be ", ", ")
            .replace(" or null", "; or null")
            .replace(" or auto", "; or auto")
        )
        value = "must be given" if key.value == "???" else f"`{_of_recipe(key.value)}`"
        cells = (f"`{key.name}`", value, takes, _text(key.comment))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _of_recipe(value: str) -> str:
    """A value; if it refers to a recipe, the value in `recipe=plain`."""
    found = re.fullmatch(r"\$\{recipe\.(\w+)\}", value)
    if found is None:
        return value
    return next(key.value for key in _keys(conf_dir() / "recipe" / "plain.yaml") if key.name == found[1])


def _keys(path: Path) -> Iterator[Key]:
    """The keys of a YAML file with their comments, including those of sections; comments below a key belong to it."""
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        found = re.fullmatch(r"( {2})?(\w+):(?:\s+([^#\s]\S*(?:\s[^#]\S*)*?))?(?:\s+#\s?(.*))?\s*", line)
        if found:
            indent, name, value, comment = found.groups()
            section = section if indent else "" if value else name
            dotted = f"{section}.{name}" if indent and section else name
            yield Key(dotted, value or "", (comment or "").strip())


def _all_keys(path: Path) -> list[Key]:
    """The keys of an option: its own, then those of the files that it builds on, which also give missing comments."""
    own = {key.name: key for key in _keys(path) if key.name not in ("_target_", "defaults")}
    for base in bases(yaml.safe_load(path.read_text(encoding="utf-8"))):
        for key in _all_keys(path.parent / f"{base}.yaml"):
            mine = own.get(key.name, key)
            own[key.name] = mine._replace(comment=mine.comment or key.comment)
    return list(own.values())


def _comments(path: Path) -> list[str]:
    """The comment lines at the top of a YAML file, without `# ` and without Hydra's directives."""
    made = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            made.append(line.removeprefix("#").removeprefix(" "))
    return made


def _text(text: str) -> str:
    """A comment as Markdown, with its markup escaped."""
    return re.sub(r"(`[^`]*`)|([<*])", lambda found: found[1] or f"\\{found[2]}", text)


def _files(group: str) -> list[Path]:
    return sorted((conf_dir() / group).glob("*.yaml"))


if __name__ == "__main__":
    main()
