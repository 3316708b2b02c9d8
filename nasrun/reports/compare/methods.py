"""A paragraph for the methods section of a paper, from the records of the runs, with citations."""

import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from nasrun.core.options import show
from nasrun.core.words import counted
from nasrun.reports.compare.latex import escaped
from nasrun.reports.compare.numbers import budget
from nasrun.reports.compare.question import Question, TestName
from nasrun.reports.compare.read import ComparedRun
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
        "abc": "karaboga2007abc",
        "gaco": "schlueter2009aco",
        "dqn": "mnih2015dqn",
        "dqn_single": "mnih2015dqn",
        "dqn_lstm": "mnih2015dqn",
        "dqn_lstm_single": "mnih2015dqn",
        "predictor": "white2021bananas",
        "pnas": "liu2018pnas",
        "nao": "luo2018nao",
    },
    "search_space": {
        "nasbench101": "ying2019nasbench101",
        "nasbench201": "dong2020nasbench201",
        "micro_cell": "pham2018enas",
        "nasnet": "zoph2018nasnet",
        "randomly_wired": "xie2019wired",
    },
    "evaluator": {
        "supernet": "pham2018enas",
        "darts": "liu2019darts",
        "gdas": "dong2019gdas",
        "pc_darts": "xu2020pcdarts",
        "sgas": "li2020sgas",
    },
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


def methods(comparisons: Sequence[Comparison], question: Question) -> tuple[str, str]:
    """The paragraph as LaTeX, and the BibTeX entries that it cites. It only states what is recorded.

    `comparisons`: those of several benchmarks, over which groups are ranked, or a single one.
    """
    runs = [run for one in comparisons for run in one.runs]
    text = " ".join([*_what(comparisons, runs), *_statistics(comparisons, question), *_where(runs)]) + "\n"
    keys = dict.fromkeys(key for group in re.findall(r"\\cite\{([^}]+)\}", text) for key in group.split(","))
    entries = {entry.partition("{")[2].partition(",")[0]: entry for entry in _entries()}
    return text, "".join(f"{entries[key]}\n" for key in keys)


def _entries() -> list[str]:
    text = (files("nasrun.reports.compare") / "references.bib").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.startswith("@")]


def _named(runs: Sequence[ComparedRun], group: str) -> str:
    """The options of a group in all runs, each with its citation."""
    names = dict.fromkeys(str(run.value(group)) for run in runs)
    return _list({name: name for name in names}, group)


def _strategies(comparisons: Sequence[Comparison]) -> str:
    """The strategies, each with its citation; by their displayed names if they are the groups."""
    if any(one.by != ["strategy"] for one in comparisons):
        return _named([run for one in comparisons for run in one.runs], "strategy")
    groups = {label: str(runs[0].value("strategy")) for one in comparisons for label, runs in one.groups.items()}
    return _list(groups, "strategy")


def _list(names: Mapping[str, str], group: str) -> str:
    """Displayed names, with their options, as a list in words with citations."""
    known = CITED[group]
    shown = [
        escaped(name) + (rf"~\cite{{{known[option]}}}" if option in known else "") for name, option in names.items()
    ]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _what(comparisons: Sequence[Comparison], runs: Sequence[ComparedRun]) -> list[str]:
    spaces, datasets = _named(runs, "search_space"), _named(runs, "dataset")
    several = "s" if len({run.value("search_space") for run in runs}) > 1 else ""
    sentences = [f"We compare {_strategies(comparisons)} in the search space{several} {spaces} on {datasets}."]
    if comparisons[0].by != ["strategy"]:
        groups = "; ".join(map(escaped, dict.fromkeys(group for one in comparisons for group in one.groups)))
        sentences.append(f"Methods are distinguished by {escaped(', '.join(comparisons[0].by))}: {groups}.")
    return [*sentences, *_measured(runs), _budget(comparisons, runs)]


def _measured(runs: Sequence[ComparedRun]) -> list[str]:
    """How architectures were measured: looked up, trained, or both."""
    sentences = []
    found = [run for run in runs if run.table is not None]
    if found:
        tables = {str(run.table): str(run.table) for run in found}
        told = _settings(found, ("epochs", "repeat", "repeats"))
        named = f"table{'s' if len(tables) > 1 else ''} {_list(tables, 'table')}"
        sentences.append(f"Architectures are not trained but looked up in the {named}{told}.")
    measured = [run for run in runs if run.table is None]
    if measured:
        told = _settings(measured, ("epochs", "batch_size", "optimizer", "lr"))
        sentences.append(f"Architectures are measured by {_named(measured, 'evaluator')}{told}.")
        if splits := _values(measured, "dataset.validation"):
            seeds = escaped(" or ".join(_values(measured, "dataset.split_seed")))
            kept = escaped(" or ".join(splits))
            sentences.append(f"Of the training images {kept} are kept for validation (split seed {seeds}).")
    return sentences


def _settings(runs: Sequence[ComparedRun], names: Sequence[str]) -> str:
    """Settings of the evaluator in brackets, if they are set."""
    known = [(name, values) for name in names if (values := _values(runs, f"evaluator.{name}"))]
    told = ", ".join(f"{name}={' or '.join(values)}" for name, values in known)
    return f" ({escaped(told)})" if told else ""


def _values(runs: Sequence[ComparedRun], key: str) -> list[str]:
    """The different values of a key that is set."""
    return list(dict.fromkeys(show(run.config[key]) for run in runs if run.config.get(key) is not None))


def _budget(comparisons: Sequence[Comparison], runs: Sequence[ComparedRun]) -> str:
    seeds, trials = sorted({run.seed for run in runs}), sorted({budget(one) for one in comparisons})
    gapless = len(seeds) > 3 and seeds[-1] - seeds[0] == len(seeds) - 1
    listed = f"{seeds[0]} to {seeds[-1]}" if gapless else ", ".join(map(str, seeds))
    fewest = min(len(group) for one in comparisons for group in one.groups.values())
    tested = any(name.startswith("test_") for run in runs for name in run.final)
    once = ", and test data are used once, for the winner of a run" if tested else ""
    metrics = " or ".join(dict.fromkeys(escaped(one.objective.metric) for one in comparisons))
    length = counted(trials[0], "trial") if len(trials) == 1 else f"{trials[0]:,} to {trials[-1]:,} trials"
    each = f" on each of {len(comparisons)} benchmarks" if len(comparisons) > 1 else ""
    return (
        f"Each run has {length} and is chosen by {metrics}{once}; each method has at least "
        f"{counted(fewest, 'run')}{each} (seeds {listed})."
    )


def _statistics(comparisons: Sequence[Comparison], question: Question) -> list[str]:
    if all(len(one.groups) < 2 or len(one.seeds) < 2 for one in comparisons):
        return []
    against = "all pairs" if question.reference is None else f"each method and {escaped(question.reference)}"
    over = "over benchmarks" if len(comparisons) > 1 else "over seeds"
    return [
        r"We report means over seeds with 95\,\% percentile bootstrap intervals and interquartile "
        r"means~\cite{agarwal2021precipice}.",
        rf"Differences of {against} are tested by {_TESTS[question.test]}, corrected by Holm's "
        r"method~\cite{holm1979}; effect sizes are Cohen's d and Vargha and Delaney's $A_{12}$~\cite{vargha2000}.",
        rf"Average ranks {over} are compared by Friedman's and Nemenyi's tests~\cite{{demsar2006}}.",
    ]


def _where(runs: Sequence[ComparedRun]) -> list[str]:
    def told(values: Sequence[Any]) -> str:
        return escaped(" / ".join(dict.fromkeys(str(value) for value in values if value)))

    places = [run.header.environment for run in runs]
    packages = [(place.get("packages") or {}).get("torch") for place in places]
    devices = told([(run.header.facts.get("runtime") or {}).get("device") for run in runs])
    total = duration(sum(run.wall_seconds for run in runs))
    commit = told([str(place["commit"])[:12] for place in places if place.get("commit")])
    return [
        f"All {len(runs)} runs were made with nasrun {told([place.get('nasrun') for place in places])}"
        f"{f' (commit {commit})' if commit else ''}, Python {told([place.get('python') for place in places])} and "
        rf"PyTorch~\cite{{paszke2019pytorch}} {told(packages)} on {told([place.get('processor') for place in places])}"
        f"{f' ({devices})' if devices else ''} and took {escaped(total)} in all."
    ]
