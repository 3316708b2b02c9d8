"""Messages for the user before a run's first trial."""

from collections.abc import Iterator
from pathlib import Path

from nasrun.config.build import Setup
from nasrun.core.answers import lines, name_of
from nasrun.core.environment import describe_environment, differences
from nasrun.datasets import Dataset
from nasrun.datasets.overview import overview_of
from nasrun.datasets.record import doubt_of
from nasrun.evaluators.train.recipe import summary
from nasrun.reports.data import write_overview
from nasrun.runner.own_code import changes_of_code
from nasrun.runner.salvage import remarks
from nasrun.storage.records import RunRecords


def startup_messages(setup: Setup, run: RunRecords) -> Iterator[str]:
    """Messages for the user before the first trial, or the next."""
    facts = run.header.facts
    for name, (old, new) in differences(run.header.environment, describe_environment()).items():
        yield f"started with {name} {old}, resumed with {new}: results may differ in the last digits"
    if facts.get("products", {}).get("backend") == "onednn":
        yield "started with products by oneDNN, which nasrun no longer uses: results may differ in the last digits"
    if run.header.data is None and setup.dataset.loaded is not None:
        yield doubt_of(run.header.nasrun)
    runtime = facts.get("runtime")
    if runtime:
        count, _ = setup.evaluator.threads or (runtime["threads"], None)
        threads = f", {count} {'thread' if count == 1 else 'threads'}" if runtime["device"] == "cpu" else ""
        threads += f", {setup.hardware.worker_summary}" if setup.hardware.worker_summary else ""
        yield f"{runtime['device']}{threads}, {runtime['precision']}: {runtime['reason']}"
    latency = facts.get("latency", {})
    if latency.get("networks"):
        errors = f"{100 * latency['median']:.0f} % off (median), {100 * latency['largest']:.0f} % at most"
        yield f"latency_ms is a sum over a table of layers; on its {latency['networks']} networks it is {errors}"
    recipe = facts.get("recipe")
    if recipe:
        yield summary(recipe)
    choice = facts.get("replicas")
    if choice and setup.evaluator.repeats * setup.hardware.trials_in_flight > 1:  # else nothing trains together
        yield f"replicas {choice['mode']}: {choice['reason']}"
    yield from lines(setup.evaluator.messages(), f"evaluator: {name_of(setup.evaluator)}.messages")
    if setup.objective.others and not setup.strategy.multi_objective:
        names = ", ".join(one.metric for one in setup.objective.others)
        yield f"the strategy uses only {setup.objective.metric}; {names}: in front.csv and the pictures"
    yield from remarks(run)
    yield from changes_of_code(run)
    length = setup.strategy.length
    if length is not None and setup.options.trials < length:
        yield f"trials={setup.options.trials}: the strategy needs {length} to finish; the last ones are left out"
    initial = setup.strategy.initial
    if initial and setup.options.trials <= initial:
        yield (
            f"trials={setup.options.trials}: all of them are the strategy's first {initial}, and nothing is evolved "
            f"from them yet; use trials={initial + 1} or more"
        )


def look_at_data(dataset: Dataset, directory: Path) -> list[str]:
    """A description of the data that a run has read, which is also written to its directory; empty if it read none."""
    overview = overview_of(dataset)
    if overview is None:
        return []
    write_overview(overview, directory)
    return overview.lines()
