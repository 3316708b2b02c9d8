"""Which layer of a larger network stands for which of a smaller one that it grew out of."""

from collections.abc import Callable
from functools import cache


def aligned(
    sources: int, places: int, grown: Callable[[int, int], bool], passes: Callable[[int, int], bool]
) -> list[int | None] | None:
    """For each of a child's `places` the one of its parent's `sources` layers that it stands for, each in turn, or None
    for one that is new; None where there is no such order.

    `grown(source, place)`: whether a layer of the child can do what one of the parent's does. `passes(source, place)`:
    whether a new one can pass on what the parent gives before its layer `source`.
    """

    @cache  # else deep networks that do not fit are tried in all orders
    def rest(source: int, place: int) -> list[int | None] | None:
        if places - place < sources - source:
            return None
        if place == places:
            return []
        if source < sources and grown(source, place):
            found = rest(source + 1, place + 1)
            if found is not None:
                return [source, *found]
        found = rest(source, place + 1) if passes(source, place) else None
        return None if found is None else [None, *found]

    return rest(0, 0)
