"""A paragraph for the methods section of a paper, from the records of the runs, with citations of what they used."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from nasrun.core.options import show
from nasrun.reports.compare.latex import escaped
from nasrun.reports.compare.numbers import budget
from nasrun.reports.compare.question import Question, TestName
from nasrun.reports.compare.runs import Comparison
from nasrun.reports.summary import duration

METHODS, BIBLIOGRAPHY = "methods.tex", "methods.bib"

CITED: dict[str, dict[str, str]] = {
    "strategy": {
        "random": "li2019random",
        "aging_evolution": "real2019regularized",
        "local_search": "white2021local",
        "asha": "li2020asha",
        "hyperband": "li2018hyperband",
        "successive_halving": "jamieson2016halving",
        "tpe": "bergstra2011tpe",
        "nsga2": "deb2002nsga2",
        "pbt": "jaderberg2017pbt",
        "reinforce": "zoph2017reinforce",
        "pso": "kennedy1995pso",
    },
    "search_space": {
        "nasbench101": "ying2019nasbench101",
        "nasbench201": "dong2020nasbench201",
        "micro_cell": "pham2018enas",
    },
    "evaluator": {"supernet": "pham2018enas"},
    "table": {"nasbench201": "dong2020nasbench201", "ec_nas": "bakhtiarifard2024ecnas"},
    "dataset": {
        "cifar10": "krizhevsky2009cifar",
        "cifar100": "krizhevsky2009cifar",
        "imagenet16": "chrabaszcz2017imagenet",
        "mnist": "lecun1998mnist",
        "fashion_mnist": "xiao2017fashion",
        "fashion_mnist_mini": "xiao2017fashion",
    },
}
"""The entry of `references.bib` for an option of a group."""

_TESTS: dict[TestName, str] = {
    "permutation": "two-sided paired permutation tests",
    "wilcoxon": r"two-sided Wilcoxon signed-rank tests~\cite{wilcoxon1945}",
    "mannwhitney": r"two-sided Mann--Whitney U tests~\cite{mann1947}",
}


def methods(comparison: Comparison, question: Question) -> tuple[str, str]:
    """The paragraph as LaTeX, and the BibTeX entries of what it cites. It says what is on record and nothing else."""
    text = " ".join([*_what(comparison), *_statistics(comparison, question), *_where(comparison)]) + "\n"
    keys = dict.fromkeys(key for group in re.findall(r"\\cite\{([^}]+)\}", text) for key in group.split(","))
    entries = {entry.partition("{")[2].partition(",")[0]: entry for entry in _entries()}
    return text, "".join(f"{entries[key]}\n" for key in keys)


def _entries() -> list[str]:
    text = (files("nasrun.reports.compare") / "references.bib").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("@")]


def _named(comparison: Comparison, group: str) -> str:
    """The options of a group in all runs, each with its citation."""
    return _list(list(dict.fromkeys(str(run.value(group)) for run in comparison.runs)), group)


def _list(names: Sequence[str], group: str) -> str:
    shown = [escaped(name) + (rf"~\cite{{{CITED[group][name]}}}" if name in CITED[group] else "") for name in names]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _what(comparison: Comparison) -> list[str]:
    run, seeds = comparison.runs[0], sorted({one.seed for one in comparison.runs})
    listed = ", ".join(map(str, seeds)) if len(seeds) < 4 else f"{seeds[0]} to {seeds[-1]}"
    fewest = min(map(len, comparison.groups.values()))
    sentences = [
        f"We compare {_named(comparison, 'strategy')} in the search space {_named(comparison, 'search_space')} on "
        f"{_named(comparison, 'dataset')}."
    ]
    if comparison.by != ["strategy"]:
        groups = ", ".join(map(escaped, comparison.groups))
        sentences.append(f"Methods are told apart by {escaped(', '.join(comparison.by))}: {groups}.")
    if run.table is not None:
        sentences.append(f"Architectures are not trained but looked up in the table {_list([run.table], 'table')}.")
    else:
        keys = {key.partition(".")[2]: value for key, value in run.config.items() if key.startswith("evaluator.")}
        settings = [
            f"{name}={show(keys[name])}" for name in ("epochs", "batch_size", "optimizer", "lr") if name in keys
        ]
        sentences.append(
            f"Architectures are measured by {_named(comparison, 'evaluator')} ({escaped(', '.join(settings))})."
        )
    split = run.config.get("dataset.validation")
    if split is not None and run.table is None:
        seed = run.config.get("dataset.split_seed")
        sentences.append(f"Of the training images {escaped(show(split))} are kept for validation (split seed {seed}).")
    test = (
        ", and test data are used once, for the winner of a run"
        if any(n.startswith("test_") for n in run.final)
        else ""
    )
    sentences.append(
        f"Each run has {budget(comparison):,} trials and is chosen by {escaped(comparison.objective.metric)}{test}; "
        f"each method has at least {fewest} runs (seeds {listed})."
    )
    return sentences


def _statistics(comparison: Comparison, question: Question) -> list[str]:
    if len(comparison.groups) < 2 or len(comparison.seeds) < 2:
        return []
    against = "all pairs" if question.reference is None else f"each method and {escaped(question.reference)}"
    return [
        r"We report means over seeds with 95\,\% percentile bootstrap intervals and interquartile "
        r"means~\cite{agarwal2021precipice}.",
        rf"Differences of {against} are tested by {_TESTS[question.test]}, corrected by Holm's "
        r"method~\cite{holm1979}; effect sizes are Cohen's d and Vargha and Delaney's $A_{12}$~\cite{vargha2000}.",
        r"Average ranks are compared by Friedman's and Nemenyi's tests~\cite{demsar2006}.",
    ]


def _where(comparison: Comparison) -> list[str]:
    def told(values: Sequence[Any]) -> str:
        return escaped(" / ".join(dict.fromkeys(str(value) for value in values if value)))

    places = [run.header.environment for run in comparison.runs]
    packages = [(place.get("packages") or {}).get("torch") for place in places]
    devices = told([(run.header.facts.get("runtime") or {}).get("device") for run in comparison.runs])
    total = duration(sum(run.wall_seconds for run in comparison.runs))
    commit = told([str(place["commit"])[:12] for place in places if place.get("commit")])
    return [
        f"All {len(comparison.runs)} runs were made with nasrun {told([place.get('nasrun') for place in places])}"
        f"{f' (commit {commit})' if commit else ''}, Python {told([place.get('python') for place in places])} and "
        rf"PyTorch~\cite{{paszke2019pytorch}} {told(packages)} on {told([place.get('processor') for place in places])}"
        f"{f' ({devices})' if devices else ''} and took {escaped(total)} in all."
    ]
