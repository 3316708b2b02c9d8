"""The rules of option types: what is taken, what is refused, and in which words."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from nasrun.core.options import (
    Above,
    AtLeast,
    Between,
    ConfigError,
    Fraction,
    NotEmpty,
    Positive,
    check_section,
    check_value,
    describe,
    gathered,
    nearest,
    options,
    show,
)

TAKEN = [
    (int, 3, 3),
    (int, -3, -3),
    (int, 10**400, 10**400),
    (float, 0.5, 0.5),
    (float, 3, 3.0),
    (bool, True, True),
    (bool, False, False),
    (str, "", ""),
    (str, "3", "3"),
    (Any, {"anything": [1]}, {"anything": [1]}),
    (int | None, None, None),
    (int | None, 3, 3),
    (int | str, "x", "x"),
    (float | None, 3, 3.0),
    (Literal["a", "b"], "b", "b"),
    (Literal[1, 3, None], None, None),
    (list[int], [], []),
    (list[int], (1, 2), [1, 2]),
    (list[float], [1, 2.5], [1.0, 2.5]),
    (list[Literal["a"]] | None, ["a"], ["a"]),
    (list[list[int]], [[1], []], [[1], []]),
    (dict[str, float], {"a": 1}, {"a": 1.0}),
    (Positive, 1, 1),
    (Annotated[int, AtLeast(0)], 0, 0),
    (Annotated[float, Above(0)], 1e-9, 1e-9),
    (Fraction, 0, 0.0),
    (Fraction, 1, 1.0),
    (Annotated[float, Between(0, 1, open_high=True)], 0.999, 0.999),
    (Annotated[float, Above(0), Between(0, 1)], 1, 1.0),
    (Annotated[int, Between(1, 1)], 1, 1),
    (Annotated[list[int], NotEmpty()], [1, 2], [1, 2]),
    (Annotated[list[int], NotEmpty()] | None, None, None),
    (Annotated[str, NotEmpty()], "aa", "aa"),
    (Annotated[int | None, AtLeast(1)], None, None),
    (list[Annotated[int, Between(1, 511)]], [511], [511]),
]

REFUSED = [
    (int, "3", "expected a whole number"),
    (int, 3.0, "expected a whole number"),
    (int, True, "expected a whole number"),
    (int, None, "expected a whole number"),
    (float, "0.5", "expected a number"),
    (float, True, "expected a number"),
    (float, float("nan"), "expected a finite number"),
    (float, float("inf"), "expected a finite number"),
    (float, -float("inf"), "expected a finite number"),
    (float, 10**400, "expected a finite number"),
    (float, -(10**400), "expected a finite number"),
    (bool, 1, "expected true or false"),
    (bool, "yes", "expected true or false"),
    (str, 3, """expected text; in quotes: 'group.key="3"'"""),
    (str, None, "expected text"),
    (int | None, "x", "expected a whole number or null"),
    (int | None, True, "expected a whole number or null"),
    (Positive | None, 0, "must be at least 1"),
    (Positive | None, "x", "expected a whole number (must be at least 1) or null"),
    (Literal["max", "min"], "maximum", "unknown; did you mean 'max'?"),
    (Literal["max", "min"], "best", "unknown; known: max, min"),
    (Literal["max", "min"], 3, "expected one of max, min"),
    (Literal[1, 3, 5], 7, "unknown; known: 1, 3, 5"),
    (Literal[1, 3, 5], "3", "expected one of 1, 3, 5"),
    (Literal[1, 3, 5], True, "expected one of 1, 3, 5"),
    (Literal[1, 3, 5], 3.0, "expected one of 1, 3, 5"),
    (Literal["a"] | None, "b", "unknown; known: a"),
    (list[int], 3, "expected a list in [ ], each entry a whole number"),
    (list[int], "ab", "expected a list in [ ], each entry a whole number"),
    (list[int], [1, "x"], "expected a whole number"),
    (list[int], [True], "expected a whole number"),
    (list[str] | None, "swap", "expected a list in [ ], each entry text or null"),
    (dict[str, int], [1], "expected keys with values"),
    (dict[str, int], {"a": "x"}, "expected a whole number"),
    (Annotated[int, AtLeast(0)], -1, "must be at least 0"),
    (Annotated[float, Above(0)], 0, "must be above 0"),
    (Fraction, 1.01, "must be from 0 to 1"),
    (Fraction, -0.01, "must be from 0 to 1"),
    (Annotated[float, Between(0, 1, open_high=True)], 1, "must be from 0 to below 1"),
    (Annotated[float, Above(0), Between(0, 1)], 0, "must be above 0"),
    (Annotated[float, Above(0), Between(0, 1)], 2, "must be from 0 to 1"),
    (Annotated[int, Between(1, 1)], 2, "must be 1"),
    (Annotated[list[int], NotEmpty()], [], "must not be empty"),
    (Annotated[list[int], NotEmpty()], [2, 1, 2], "must not hold the same entry twice"),
    (Annotated[str, NotEmpty()], "", "must not be empty"),
    (list[Annotated[int, Between(1, 511)]], [8, 600], "must be from 1 to 511"),
]


@pytest.mark.parametrize(("kind", "value", "converted"), TAKEN, ids=str)
def test_value_is_taken(kind: Any, value: Any, converted: Any) -> None:
    result = check_value(kind, value, "key")
    assert result == converted
    assert type(result) is type(converted)


@pytest.mark.parametrize(("kind", "value", "reason"), REFUSED, ids=lambda value: str(value)[:40])
def test_value_is_refused(kind: Any, value: Any, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_value(kind, value, "group.key")
    assert str(caught.value) == f"group.key={show(value)}: {reason}"


def test_value_that_is_not_set_says_how_to_set_it() -> None:
    with pytest.raises(ConfigError, match=r"^dataset\.path: not set; give it as dataset\.path=\.\.\. \(text\)$"):
        check_value(str, "???", "dataset.path")


def test_nearest_names_the_closest_word_or_all() -> None:
    assert nearest("epoch", ["epochs", "lr"]) == "did you mean 'epochs'?"
    assert nearest("zzz", ["epochs", "lr"]) == "known: epochs, lr"
    assert nearest("zzz", []) == "none are known here"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (None, "null"),
        (1, "1"),
        ("True", "True"),
        (["a", True, None, [1, 2.5]], "[a,true,null,[1,2.5]]"),
        ({"a": {"b": False}}, "{a:{b:false}}"),
        ("two\nlines", "two lines"),
        ("x" * 61, "x" * 57 + "..."),
    ],
)
def test_show_writes_what_one_would_type(value: Any, text: str) -> None:
    assert show(value) == text


@dataclass(kw_only=True, frozen=True)
class Inner:
    rate: Fraction = 0.5


class Outer:
    Settings = Inner

    def __init__(self, runtime: str, *, count: Positive, name: str | None = None, **settings: Any) -> None:
        pass


def test_options_are_the_keyword_only_arguments_and_those_of_the_settings() -> None:
    assert list(options(Outer)) == ["count", "name", "rate"]
    assert describe(options(Outer)["count"].annotation) == "a whole number (must be at least 1)"


def test_section_is_checked_and_converted() -> None:
    assert check_section(Outer, {"count": 3, "rate": 1}, "outer") == {"count": 3, "rate": 1.0}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"count": 1, "nam": "x"}, "outer.nam: no such key; did you mean 'name'?"),
        ({"count": 1, "runtime": "x"}, "outer.runtime: no such key; known: count, name, rate"),
        ({"count": 1, "rate": 2}, "outer.rate=2: must be from 0 to 1"),
        ({"name": "x"}, "outer.count: missing; expected a whole number (must be at least 1)"),
    ],
)
def test_section_is_refused(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_section(Outer, values, "outer")
    assert str(caught.value) == text


@dataclass(kw_only=True, frozen=True)
class Engine:
    """Settings that belong together."""

    power: Positive = 3
    fuel: Literal["coal", "oil"] = "coal"

    def __post_init__(self) -> None:
        if self.fuel == "oil" and self.power > 5:
            raise ValueError(f"power={self.power}: too much for fuel=oil")


class Tram:
    """Needs settings that have no default of its own."""

    def __init__(self, *, engine: Engine) -> None:
        self.engine = engine


class Train:
    """Has a default of its own for settings, and another option."""

    def __init__(self, *, engine: Engine = Engine(power=4, fuel="oil"), cars: Positive) -> None:
        self.engine, self.cars = engine, cars


def test_a_settings_object_stands_for_its_fields() -> None:
    known = options(Tram)
    assert list(known) == ["power", "fuel"]
    assert (known["power"].default, known["fuel"].annotation) == (3, Literal["coal", "oil"])
    assert Tram(**check_section(Tram, {"fuel": "oil"}, "tram")).engine == Engine(fuel="oil")
    assert Tram(**check_section(Tram, {}, "tram")).engine == Engine()


def test_the_defaults_of_a_settings_object_are_those_of_the_argument() -> None:
    assert {name: known.default for name, known in options(Train).items() if name != "cars"} == {
        "power": 4,
        "fuel": "oil",
    }
    assert check_section(Train, {"cars": 2}, "") == {"cars": 2}
    assert check_section(Train, {"cars": 2, "power": 5}, "") == {"cars": 2, "engine": Engine(power=5, fuel="oil")}
    assert gathered(Train, {"cars": 2, "fuel": "coal"}) == {"cars": 2, "engine": Engine(power=4)}


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"power": 0}, "tram.power=0: must be at least 1"),
        ({"fuel": "wood"}, "tram.fuel=wood: unknown; known: coal, oil"),
        ({"powr": 3}, "tram.powr: no such key; did you mean 'power'?"),
        ({"engine": {}}, "tram.engine: no such key; known: fuel, power"),
        ({"power": 6, "fuel": "oil"}, "tram.power=6: too much for fuel=oil"),
    ],
)
def test_what_a_settings_object_refuses_is_named_by_its_key(values: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_section(Tram, values, "tram")
    assert str(caught.value) == text
