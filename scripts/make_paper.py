"""Makes all tables and plots of an example paper from one sweep, and compiles it: four nasrun commands and LaTeX.

    python scripts/make_paper.py FOLDER [--seeds 10] [--trials 100]

FOLDER gets the sweep (six strategies, three data sets of NAS-Bench-201, training runs of 12 and of 200 epochs: 360 runs
with ten seeds), the comparisons, a pack of all runs, `paper.tex` with every table and plot and the BibTeX entries used,
`paper.pdf`, and a picture of each page. Commands are printed before they run; an existing sweep is resumed.
`--strategies` must include `random`. Needs pdflatex and bibtex (Debian: texlive-latex-base, texlive-latex-recommended),
and pdftoppm (poppler-utils).
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

STRATEGIES = ("random", "aging_evolution", "local_search", "reinforce", "pso", "tpe")
DATASETS = ("cifar10", "cifar100", "imagenet16")
LABELS = {"random": "Random search", "aging_evolution": "Regularised evolution", "local_search": "Local search"}
PREAMBLE = r"""\documentclass{article}
\usepackage[a4paper,margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\setcounter{totalnumber}{8}
\setcounter{topnumber}{8}
\renewcommand{\topfraction}{0.95}
\renewcommand{\textfraction}{0.02}
\setlength{\abovecaptionskip}{5pt}
\setlength{\belowcaptionskip}{5pt}
\makeatletter\setlength{\@fptop}{0pt}\makeatother
\title{Six strategies on three data sets}
\date{}
\begin{document}
\maketitle
"""
CAPTIONS = {
    "incumbent_trials": "Mean of the best so far, with its 95\\,\\% interval",
    "regret_trials": "Mean distance to the best of the table, with its 95\\,\\% interval",
    "critical_difference_over": "Average ranks over data sets by ",
    "critical_difference": "Average ranks over seeds by ",
    "final": "All runs, with means and 95\\,\\% intervals: ",
    "heat": "Means over seeds by strategy and epochs: ",
}
"""Captions by the prefix of a plot's name; the rest of the name is the measure."""
TOOLS = {"pdflatex": "texlive-latex-base texlive-latex-recommended", "bibtex": "texlive-binaries"}
TOOLS["pdftoppm"] = "poppler-utils"


def main() -> None:
    """Sweep, compare, write the paper and compile it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), metavar="NAME")
    arguments = parser.parse_args()
    for tool, packages in TOOLS.items():
        if shutil.which(tool) is None:
            sys.exit(f"{tool}: not installed (Debian: apt-get install {packages})")
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    labels = {name: label for name, label in LABELS.items() if name in arguments.strategies}
    (folder / "style.yaml").write_text(yaml.safe_dump({"labels": labels, "colours": {"random": "#9AA0A8"}}))
    for words in commands(arguments.strategies, arguments.seeds, arguments.trials):
        nasrun(words, folder)
    (folder / "paper.tex").write_text(paper(folder))
    for command in ("pdflatex", "bibtex", "pdflatex", "pdflatex"):
        compile_with(command, folder)
    subprocess.run(["pdftoppm", "-r", "60", "-png", "paper.pdf", "page"], cwd=folder, check=True)
    pages = sorted(folder.glob("page-*.png"))
    print(f"{folder / 'paper.pdf'}: {len(pages)} pages, as pictures: {pages[0].name} to {pages[-1].name}")


def commands(strategies: Sequence[str], seeds: int, trials: int) -> Iterable[Sequence[str]]:
    """The arguments of each command: a sweep, the strategies over data sets, the effect of the training length, a
    pack."""
    cuts = f"at={max(1, trials // 2)},{trials}"
    yield [
        *("-m", f"strategy={','.join(strategies)}", f"dataset={','.join(DATASETS)}", f"seed=range({seeds})"),
        *("evaluator.epochs=12,200", "search_space=nasbench201", "evaluator=table", f"trials={trials}"),
        *("output.plots=false", "hydra.sweep.dir=sweep", "resume=true"),
    ]
    compare = ("compare", "sweep", "--style", "style.yaml")
    full = "where=evaluator.epochs=200"
    yield [*compare, "over=dataset", full, cuts, "reference=random", "--methods", "--checklist", "--out", "main"]
    yield [*compare[:2], "over=dataset", "by=strategy,evaluator.epochs", "--out", "fidelity"]
    yield ["pack", "sweep", "--out", "sweep.zip"]


def nasrun(words: Sequence[str], folder: Path) -> None:
    """Run a command of nasrun in a folder; exits if it fails."""
    if words[0] == "-m" and not (folder / "sweep").exists():
        words = [word for word in words if word != "resume=true"]
    print(f"$ nasrun {shlex.join(words)}", flush=True)
    command = [str(Path(sys.executable).with_name("nasrun")), *words]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def paper(folder: Path) -> str:
    """The LaTeX source of a document with all files that the comparisons wrote."""
    parts = [PREAMBLE, r"\section{Methods}", r"\input{main/methods}", r"\section{Results}", r"\input{main/over}"]
    parts += _figures(folder, sorted((folder / "main").glob("critical_difference_over_*.pdf")))
    for dataset in DATASETS:
        main = folder / "main" / dataset
        parts += [rf"\clearpage\section{{On {dataset}}}", rf"\input{{main/{dataset}/compare}}"]
        parts += _figures(folder, sorted(main.glob("*.pdf")))
    parts += [r"\clearpage\section{Trainings of 12 epochs}", r"\input{fidelity/over}"]
    parts += _figures(folder, sorted((folder / "fidelity").glob("*/heat_*.pdf")))
    parts += [r"\clearpage\bibliographystyle{plain}\bibliography{main/methods}", r"\end{document}"]
    return "\n".join(parts) + "\n"


def _figures(folder: Path, pictures: Sequence[Path]) -> list[str]:
    """The pictures two by two, each with a caption."""
    found = []
    for first in range(0, len(pictures), 2):
        cells = [_cell(folder, picture) for picture in pictures[first : first + 2]]
        found.append("\\begin{figure}[htbp]\\centering\n" + "\\hfill\n".join(cells) + "\\end{figure}")
    return [*found, r"\clearpage"] if found else []


def _cell(folder: Path, picture: Path) -> str:
    place = picture.relative_to(folder)
    return (
        "\\begin{minipage}[t]{0.48\\textwidth}\\centering\n"
        f"\\includegraphics[width=\\textwidth]{{{place.with_suffix('')}}}\n\\caption{{{caption(place)}}}\n"
        "\\end{minipage}\n"
    )


def caption(picture: Path) -> str:
    """The caption of a comparison's plot, by its name and folder."""
    kind = next(kind for kind in CAPTIONS if picture.stem.startswith(kind))
    measure = re.sub(r"_at_(\d+)_trials", r" after \1 trials", picture.stem.removeprefix(kind)).strip("_")
    where = f" on {picture.parent.name}" if picture.parent.name in DATASETS else ""
    return f"{CAPTIONS[kind]}{measure.replace('_', ' ')}{where}."


def compile_with(command: str, folder: Path) -> None:
    """Run pdflatex or bibtex on the paper; if it fails, exits with the end of its output."""
    flags = ["-interaction=nonstopmode", "-halt-on-error"] if command == "pdflatex" else []
    environment = {**os.environ, "TEXMFVAR": str(folder / ".texmf")}
    done = subprocess.run(
        [command, *flags, "paper"], cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        sys.exit(f"{command}:\n{done.stdout[-2000:]}")


if __name__ == "__main__":
    main()
