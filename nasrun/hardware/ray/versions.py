"""Checks that the nodes of a Ray cluster have the runner's versions, even nodes without nasrun."""

from collections.abc import Mapping
from typing import Any

from nasrun.hardware.remote_worker import other_version

ANSWER_SECONDS = 30.0


def differing_node(ray: Any, runners: Mapping[str, str]) -> str | None:
    """A description of a node with other versions than the runner's; None if there is none. `runners`: by package, and
    of Python."""

    def there(names: tuple[str, ...]) -> tuple[str, dict[str, str]]:  # local, so that Ray sends its code
        import os
        import sys
        from importlib.metadata import PackageNotFoundError, version

        found = {"Python": ".".join(map(str, sys.version_info[:2]))}
        for name in names:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "none"
        return os.uname().nodename, found

    names = tuple(name for name in runners if name != "Python")
    asked = ray.remote(num_cpus=0, max_retries=0)(there)
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    calls = [asked.options(scheduling_strategy=strategy(node, soft=False)).remote(names) for node in nodes]
    ready, _ = ray.wait(calls, num_returns=len(calls), timeout=ANSWER_SECONDS)
    for call in ready:
        try:
            host, found = ray.get(call)
        except ray.exceptions.RayError:
            continue
        for name, own in runners.items():
            if found[name] != own:
                return other_version(f"a node of the Ray cluster ({host})", name, found[name], own)
    return None
