"""The checklist for papers on architecture search, filled in from the records of the compared runs.

Source: Lindauer and Hutter 2020, "Best Practices for Scientific Research on Neural Architecture Search", Journal of
Machine Learning Research 21(243), its checklist; the wording here is our own. An answer is given only if the records
hold the evidence; otherwise it is "unknown", for the author to fill in.
"""

import json
from collections.abc import Callable
from typing import Literal, NamedTuple

from nasrun.core.words import counted
from nasrun.reports.compare.numbers import budget, random_average
from nasrun.reports.compare.runs import BENCHMARK, FEW_SEEDS, SAME_RESULT, Comparison
from nasrun.reports.summary import duration

FILE = "checklist.md"
Reply = Literal["yes", "no", "unknown"]


class Answer(NamedTuple):
    """A point of the checklist with its answer and the evidence."""

    part: str
    question: str
    reply: Reply
    evidence: str


def checklist(comparison: Comparison) -> list[Answer]:
    """All points, in the order of the paper: code, comparison, report."""
    points: list[tuple[str, str, Callable[[Comparison], tuple[Reply, str]]]] = [
        ("Code", "Can others get the code that searched and trained?", _code),
        ("Code", "Are the search space and its options recorded?", _section("search_space")),
        ("Code", "Are the training settings of the final networks, and their seeds, recorded?", _training),
        ("Code", "Are the options of each search method, and its seeds, recorded?", _methods),
        ("Comparison", "Same search space, data, split and training for all methods?", _benchmark),
        ("Comparison", "Same hardware, versions and precision for all methods?", _confounders),
        ("Comparison", "Is each part of a method shown to matter (ablation)?", _ablation),
        ("Comparison", "Same protocol: budget, selection by validation data, test data used once?", _protocol),
        ("Comparison", "Is performance shown over time, not only at the end?", _over_time),
        ("Comparison", "Is random search among the methods?", _random),
        ("Comparison", "Several runs of each method, with their seeds?", _seeds),
        ("Comparison", "A benchmark with known results for thorough evaluation?", _tabular),
        ("Report", "How were the options of the methods tuned, and at what cost?", _tuning),
        ("Report", "Is the time of the whole search given, final training included?", _time),
        ("Report", "Are all trials reported, failed ones too?", _trials),
        ("Report", "Is the setting complete: hardware, versions, commands?", _setting),
    ]
    return [Answer(part, question, *answer(comparison)) for part, question, answer in points]


def as_markdown(answers: list[Answer]) -> str:
    """The completed checklist."""
    parts = [
        "# Checklist for a comparison of architecture search methods\n",
        'After Lindauer and Hutter, "Best Practices for Scientific Research on Neural Architecture Search", JMLR '
        "21(243), 2020. Answered from the records of the runs; what they do not show is left as unknown.\n",
    ]
    for part in dict.fromkeys(answer.part for answer in answers):
        rows = [answer for answer in answers if answer.part == part]
        lines = [f"| {row.question} | **{row.reply}** | {row.evidence.replace('|', '/')} |\n" for row in rows]
        parts.append(f"## {part}\n\n| point | answer | evidence |\n|---|---|---|\n{''.join(lines)}")
    return "\n".join(parts)


def _code(comparison: Comparison) -> tuple[Reply, str]:
    reply, evidence = _code_of_nasrun(comparison)
    own = {name: sha for run in comparison.runs for name, sha in run.own_files.items()}
    if any(len({run.own_files.get(name) for run in comparison.runs} - {None}) > 1 for name in own):
        return "no", f"own classes were changed between runs ({', '.join(own)}); {evidence}"
    if own:
        listed = ", ".join(f"{name} (SHA-256 {sha[:12]})" for name, sha in own.items())
        evidence += f"; source of own classes in `code/` of the runs: {listed}"
    return reply, evidence


def _code_of_nasrun(comparison: Comparison) -> tuple[Reply, str]:
    places = [run.header.environment for run in comparison.runs]
    versions = sorted({str(place.get("nasrun")) for place in places})
    commits = sorted({str(place["commit"]) for place in places if place.get("commit")})
    if len(versions) > 1 or len(commits) > 1:
        return "no", f"made by different code: versions {', '.join(versions)}; commits {', '.join(commits) or 'none'}"
    if commits:
        return "unknown", f"commit {commits[0]} of nasrun {versions[0]} is recorded; whether it is public is not"
    return "unknown", f"nasrun {versions[0]}, an installed package without a commit"


def _section(name: str) -> Callable[[Comparison], tuple[Reply, str]]:
    def answer(comparison: Comparison) -> tuple[Reply, str]:
        keys = [key for key in comparison.runs[0].config if key.startswith(f"{name}.")]
        chosen = comparison.runs[0].choices.get(name) or "of the user's own"
        return "yes", f"`.hydra/config.yaml` of every run: {name} {chosen}, {counted(len(keys), 'key')}"

    return answer


def _training(comparison: Comparison) -> tuple[Reply, str]:
    table = comparison.runs[0].table
    if table is None:
        return _section("evaluator")(comparison)
    return "unknown", f"nothing was trained here: table {table} was used; its authors say how they trained"


def _methods(comparison: Comparison) -> tuple[Reply, str]:
    return "yes", f"`.hydra/config.yaml` of {counted(len(comparison.runs), 'run')}; seeds: {_seed_list(comparison)}"


def _benchmark(comparison: Comparison) -> tuple[Reply, str]:
    apart = [key for key in comparison.by if key.partition(".")[0] in BENCHMARK]
    if apart:
        return "no", f"the groups differ intentionally in {', '.join(apart)}"
    seed = comparison.runs[0].config.get("dataset.split_seed")
    split = f"; split seed {seed}" if seed is not None else ""
    ignored = ", ".join(SAME_RESULT)
    return "yes", f"benchmark hash {comparison.benchmark} in all runs{split} (left out of it: {ignored})"


def _confounders(comparison: Comparison) -> tuple[Reply, str]:
    fields: dict[str, set[str]] = {}
    for run in comparison.runs:
        place, runtime = run.header.environment, run.header.facts.get("runtime") or {}
        found = {"processor": place.get("processor"), "python": place.get("python"), "packages": place.get("packages")}
        found |= {name: runtime[name] for name in ("device", "precision", "threads") if name in runtime}
        for name, value in found.items():
            fields.setdefault(name, set()).add(json.dumps(value, sort_keys=True))
    different = [name for name, values in fields.items() if len(values) > 1]
    if different:
        return "no", f"runs differ in {', '.join(different)}"
    return "yes", f"{', '.join(fields)} are the same in all runs; what else ran on the machine is not recorded"


def _ablation(comparison: Comparison) -> tuple[Reply, str]:
    keys = [key for key in comparison.by if "." in key or key == "deduplicate"]
    if keys and len(comparison.groups) > 1:
        return "yes", f"the groups differ in {', '.join(keys)}"
    return "unknown", "the groups are whole methods; to compare an option: by=strategy.KEY"


def _protocol(comparison: Comparison) -> tuple[Reply, str]:
    trials = {run.config.get("trials") for run in comparison.runs}
    on_test = any(run.config.get("dataset.validation") == "test" for run in comparison.runs)
    if on_test:
        return "no", "architectures were compared on the test images (dataset.validation=test)"
    metric = comparison.objective.metric
    what = f"chosen by {metric}; test data are measured once, after the search"
    if len(trials) > 1:
        return "no", f"runs of {', '.join(map(str, sorted(trials, key=str)))} trials, compared after the fewest; {what}"
    return "yes", f"{counted(budget(comparison), 'trial')} each; {what}"


def _over_time(comparison: Comparison) -> tuple[Reply, str]:
    if not all(run.timed for run in comparison.runs):
        return "yes", f"`curves_trials.csv`, with a picture; table {comparison.runs[0].table} holds no training times"
    clock = "training times from the table" if comparison.runs[0].simulated else "seconds since the start"
    return "yes", f"`curves_trials.csv` and `curves_seconds.csv` ({clock}), with pictures"


def _random(comparison: Comparison) -> tuple[Reply, str]:
    names = [name for name, runs in comparison.groups.items() if runs[0].value("strategy") == "random"]
    if names:
        return "yes", f"group {names[0]}, {counted(len(comparison.groups[names[0]]), 'run')}"
    average = random_average(comparison)
    beside = f"; the average of {counted(average[1], 'random architecture')} is given" if average else ""
    return "no", f"no group with strategy=random{beside}"


def _seeds(comparison: Comparison) -> tuple[Reply, str]:
    fewest = min(len(runs) for runs in comparison.groups.values())
    evidence = f"{fewest} or more per group; seeds: {_seed_list(comparison)}"
    return ("yes" if fewest >= FEW_SEEDS else "no"), evidence + ("" if fewest >= FEW_SEEDS else f" (under {FEW_SEEDS})")


def _tabular(comparison: Comparison) -> tuple[Reply, str]:
    if comparison.runs[0].value("evaluator") == "table":
        return (
            "yes",
            f"evaluator=table, table {comparison.runs[0].table or comparison.runs[0].config['evaluator.table']}",
        )
    return "no", f"evaluator {comparison.runs[0].value('evaluator')}; a table: evaluator=table"


def _tuning(comparison: Comparison) -> tuple[Reply, str]:
    return "unknown", "runs that were made to tune options are not recorded as such; the author must answer"


def _time(comparison: Comparison) -> tuple[Reply, str]:
    total = sum(run.wall_seconds for run in comparison.runs)
    shown = f"`runs.csv`, wall time of each run from start to end, {duration(total)} in all"
    if not all(run.timed for run in comparison.runs):
        return "no", shown + f", counts only look-ups; table {comparison.runs[0].table} holds no training times"
    if comparison.runs[0].simulated:
        return "yes", shown + "; training runs were looked up, `curves_seconds.csv` has their times"
    return "yes", shown


def _trials(comparison: Comparison) -> tuple[Reply, str]:
    total = sum(len(run.values) for run in comparison.runs)
    failed = sum(int((run.values != run.values).sum()) for run in comparison.runs)
    return "yes", f"{counted(total, 'trial')}, {failed:,} of them without a result, all in `trials.csv` of the runs"


def _setting(comparison: Comparison) -> tuple[Reply, str]:
    place = comparison.runs[0].header.environment
    packages = ", ".join(f"{name} {version}" for name, version in (place.get("packages") or {}).items())
    command = " ".join(place.get("command") or [])
    return (
        "yes",
        f"{place.get('processor')}, {place.get('system')}, Python {place.get('python')}, {packages}; `{command}`",
    )


def _seed_list(comparison: Comparison) -> str:
    seeds = sorted({run.seed for run in comparison.runs})
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]} to {seeds[-1]}"
    return ", ".join(map(str, seeds))
