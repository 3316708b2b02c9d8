"""What tells objects of a program apart."""

import subprocess
import sys
from functools import partial
from typing import Any

import numpy as np

from nasrun.config.given import Given, fingerprint

SIZE = 4


class Settings:
    """Holds what it is made with."""

    def __init__(self, **values: Any) -> None:
        self.__dict__ |= values


def made(size: int) -> Any:
    return lambda *parts: Settings(size=size)


def test_other_settings_have_other_fingerprints() -> None:
    things = [
        *(Settings(size=size) for size in (1, 2)),
        *(Settings(inner=Settings(widths=widths)) for widths in ([1, 2], [1, 3])),
        *(Settings(table=np.arange(count)) for count in (3, 4)),
        *(Settings(names=names) for names in ({"a"}, {"a", "b"})),
        *map(made, (1, 2)),
        *(partial(made, size) for size in (1, 2)),
        lambda: Settings(size=3),
        lambda: Settings(size=5),
        lambda: Settings(size=SIZE),
        lambda size=1: Settings(size=size),
        lambda size=2: Settings(size=size),
    ]
    prints = [fingerprint(thing) for thing in things]
    assert len(set(prints)) == len(prints)
    assert [fingerprint(thing) for thing in things] == prints
    assert fingerprint(made(1)) == fingerprint(made(1))


def test_what_refers_to_itself_has_one() -> None:
    loop = Settings()
    loop.loop = loop  # type: ignore[attr-defined]
    assert fingerprint(loop) == fingerprint(loop)


def test_another_process_finds_the_same() -> None:
    program = (
        "from nasrun.config.given import fingerprint; from tests.config.test_given import Settings, made; "
        "print(fingerprint(made(3)), fingerprint(Settings(names={'a', 'b', 'c'})))"
    )
    words = [sys.executable, "-c", program]
    found = {subprocess.run(words, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert found == {f"{fingerprint(made(3))} {fingerprint(Settings(names={'a', 'b', 'c'}))}\n"}


def test_what_can_be_imported_is_named_alone() -> None:
    path = "tests.config.test_given.Settings"
    assert Given(Settings).section == {"_target_": path}
    assert Given(Settings(size=1)).section == {"_target_": path, "_given_": fingerprint(Settings(size=1))}
