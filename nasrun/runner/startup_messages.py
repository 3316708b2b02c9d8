"""What the user of a run should know before its first trial."""

from collections.abc import Iterator, Sequence

from nasrun.config.build import Setup
from nasrun.core.environment import describe_environment
from nasrun.runner.salvage import remarks
from nasrun.storage.journal import Event


def startup_messages(setup: Setup, events: Sequence[Event]) -> Iterator[str]:
    """What a user should know before the first trial."""
    places = (events[0]["environment"], describe_environment())
    then, now = ({"processor": place["processor"], **place["packages"]} for place in places)
    for name, old in then.items():
        if now[name] != old:
            yield f"begun with {name} {old}, going on with {now[name]}: results may differ in the last digits"
    runtime = events[0]["facts"].get("runtime")
    if runtime:
        threads = f", {runtime['threads']} threads" if runtime["device"] == "cpu" else ""
        threads += f", {setup.hardware.worker_summary}" if setup.hardware.worker_summary else ""
        yield f"{runtime['device']}{threads}, {runtime['precision']}: {runtime['reason']}"
    if setup.evaluator.repeats * setup.hardware.trials_in_flight > 1:  # else nothing trains together
        for name, chosen in (("replicas", "mode"), ("products", "backend")):
            if name in events[0]["facts"]:
                choice = events[0]["facts"][name]
                yield f"{name} {choice[chosen]}: {choice['reason']}"
    if setup.objective.others and not setup.strategy.multi_objective:
        names = ", ".join(one.metric for one in setup.objective.others)
        yield f"the strategy goes by {setup.objective.metric} alone; {names}: in front.csv and the pictures"
    yield from remarks(events)
    length = setup.strategy.length
    if length is not None and setup.options.trials < length:
        yield f"trials={setup.options.trials}: the strategy takes {length} to its end; the last ones are left out"
    initial = setup.strategy.initial
    if initial and setup.options.trials <= initial:
        yield f"trials={setup.options.trials} are no more than the {initial} random ones at first: nothing is evolved"
