"""Every table and picture of a made-up paper, from one sweep, compiled: four nasrun commands, LaTeX, pages as pictures.

    python scripts/make_paper.py FOLDER [--seeds 10] [--trials 100]

Into FOLDER go the sweep (six strategies, three data sets of NAS-Bench-201, trainings of 12 and of 200 epochs: 360 runs
with ten seeds), the comparisons, a pack of all runs, `paper.tex` with every table and picture and the BibTeX entries of
what was used, `paper.pdf`, and a picture of each page. Commands are printed before they run; a sweep that is there
already is gone on with. `random` must be one of `--strategies`. Needed: pdflatex, bibtex (Debian: texlive-latex-base,
texlive-latex-recommended), and pdftoppm (poppler-utils).
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
\title{Six strategies on three data sets}
\date{}
\begin{document}
\maketitle
"""
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
            sys.exit(f"{tool}: is not installed (Debian: apt-get install {packages})")
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
    """The words of each command: a sweep, the strategies over data sets, what the length of trainings does, a pack."""
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
    """Run a command of nasrun in a folder; the program ends where it fails."""
    if words[0] == "-m" and not (folder / "sweep").exists():
        words = [word for word in words if word != "resume=true"]
    print(f"$ nasrun {shlex.join(words)}", flush=True)
    command = [str(Path(sys.executable).with_name("nasrun")), *words]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def paper(folder: Path) -> str:
    """The LaTeX of a document with everything that the comparisons wrote."""
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


def _figures(folder: Path, pictures: Iterable[Path]) -> list[str]:
    """Each picture with its name as its caption, where it stands."""
    found = []
    for picture in pictures:
        place = picture.relative_to(folder).with_suffix("")
        caption = re.sub(r"[_/]", " ", str(place))
        found.append(
            "\\begin{figure}[tbp]\\centering\n"
            f"\\includegraphics[width=0.8\\textwidth]{{{place}}}\n\\caption{{{caption}}}\n\\end{{figure}}"
        )
    return [*found, r"\clearpage"] if found else []


def compile_with(command: str, folder: Path) -> None:
    """Run pdflatex or bibtex on the paper; the program ends with the end of what it says where it fails."""
    flags = ["-interaction=nonstopmode", "-halt-on-error"] if command == "pdflatex" else []
    environment = {**os.environ, "TEXMFVAR": str(folder / ".texmf")}
    done = subprocess.run(
        [command, *flags, "paper"], cwd=folder, capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        sys.exit(f"{command}:\n{done.stdout[-2000:]}")


if __name__ == "__main__":
    main()
