"""A comparison as LaTeX: for each measure a table over seeds and one of its tests, with captions, labels and marks."""

import re
from collections.abc import Sequence
from pathlib import Path

from nasrun.core.options import printable

DEFAULT_FOLDER = "compare"
"""The default folder of a comparison."""
PREAMBLE = "% needs \\usepackage{booktabs}\n"
BEST, SAME, SIGNIFICANT = r"\textbf{%s}", r"$^{=}$", r"$^{*}$"
LEVEL = 0.05
"""p-values below this, after Holm's correction, are marked."""

_SPECIAL = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
_SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}
_SPECIAL |= {'"': "''"}


def escaped(text: str) -> str:
    """A text escaped for LaTeX; characters that its usual fonts lack (beyond Latin) become `?`."""
    return "".join(_SPECIAL.get(c, c if ord(c) < 0x180 else "?") for c in printable(text))


def label(*words: str) -> str:
    """A label of a table, of letters and digits."""
    return "tab:" + "-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words if word)


def prefix(folder: Path) -> str:
    """The prefix of the labels of a folder's tables, so that those of several folders can be in one document: its name,
    unless that is the default."""
    name = folder.absolute().name
    return "" if name == DEFAULT_FOLDER else name


def table(rows: Sequence[Sequence[str]], caption: str, name: str) -> str:
    """A floating table of cells that are LaTeX already, with a header row."""
    head, *body = rows
    lines = [
        "\\begin{table}[htbp]\n\\centering\n",
        f"\\caption{{{caption}}}\n\\label{{{name}}}\n",
        f"\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n\\toprule\n",
        " & ".join(head) + " \\\\\n\\midrule\n",
        *(" & ".join(row) + " \\\\\n" for row in body),
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n",
    ]
    return "".join(lines)


def bold(text: str) -> str:
    """Mark the best of a table."""
    return BEST % text
