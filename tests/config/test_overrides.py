"""The words of a command line: plain values, new keys below `vars`, several values, references."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasrun.config.compose import Composer
from nasrun.config.overrides import as_values, in_full, parse, quoted
from nasrun.core.options import ConfigError

PLAIN = [
    "data/images.npz",
    "~/x.npz",
    "/données/ü.npz",
    "日本.npz",
    "a(1).npz",
    "a(1,2).npz",
    "(",
    "a&b.npz",
    "a#b.npz",
    "a!b.npz",
    "a;b.npz",
    "it's.npz",
    'a"b.npz',
    "a'b\"c.npz",
    "a[1].npz",
    "[x].npz",
    "a{1}.npz",
    "{a}",
    "a=b.npz",
    "a b  c.npz",
    "a\\b.npz",
    "ü\\",
    "range(1).npz",
    "a<b>|c^`d.npz",
    "x:y.npz",
]


def value_of(word: str) -> object:
    (override,) = parse(in_full([word]))
    assert not override.is_sweep_override()
    return override.value()


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_path_is_the_value_that_it_is(text: str) -> None:
    assert value_of(f"dataset.path={text}") == text


@pytest.mark.parametrize("text", PLAIN)
def test_a_plain_path_is_composed(text: str) -> None:
    config = Composer().compose(["dataset=arrays", f"dataset.path={text}"])
    assert config.dataset.path == text


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).filter(lambda text: "${" not in text))
def test_any_text_can_be_quoted(text: str) -> None:
    assert value_of(quoted(f"dataset.path={text}")) == text


@given(st.text(st.characters(exclude_categories=("Cs", "Cc"))).filter(lambda text: "${" not in text))
def test_a_text_with_a_letter_that_hydra_does_not_take_is_itself(text: str) -> None:
    whole = f"ü{text.replace(',', '')}ü"
    assert value_of(f"dataset.path={whole}") == whole


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("x=3", 3),
        ("x=", ""),
        ("x=null", None),
        ("x=[8,16]", [8, 16]),
        ("x=[~/a,b c,3]", ["~/a", "b c", 3]),
        ("x=[[ü,1],[2]]", [["ü", 1], [2]]),
        ("x={a: ü, b: [1,2]}", {"a": "ü", "b": [1, 2]}),
        ("x=${seed}", "${seed}"),
        ("x=${oc.env:HOME}/ü", "${oc.env:HOME}/ü"),
        ("x='a,b'", "a,b"),
    ],
)
def test_other_values_are_what_they_were(word: str, value: object) -> None:
    assert value_of(word) == value


def test_each_of_several_values_is_quoted_on_its_own() -> None:
    (override,) = parse(in_full(["dataset.path=ü.npz,b.npz,a(1,2).npz"]))
    assert [value.strip("\"'") for value in override.sweep_string_iterator()] == ["ü.npz", "b.npz", "a(1,2).npz"]
    (override,) = parse(in_full(["x=[ü],[b]"]))
    assert list(override.sweep_string_iterator()) == ['["ü"]', "[b]"]


@pytest.mark.parametrize("word", ["seed=range(0,x)", "seed=interval(a,b)", "trials=${seed", "trials=ü${b", "=3"])
def test_a_slip_in_hydras_grammar_is_no_plain_text(word: str) -> None:
    with pytest.raises(ConfigError, match="cannot be read; expected key=value"):
        parse(in_full([word]))


def test_several_values_may_have_been_meant_as_one() -> None:
    with pytest.raises(ConfigError) as caught:
        Composer().compose(["dataset=arrays", "dataset.path=ä,b.npz"])
    how = str(caught.value).partition("; as one text: ")[2]
    (word,) = shlex.split(how)
    assert Composer().compose(["dataset=arrays", word]).dataset.path == "ä,b.npz"


@pytest.mark.parametrize(
    "words", [["vars={n: 3}"], ["vars.n=3"], ["+vars.n=3"], ["++vars={n: 3}"], ["vars.n=2", "vars.n=3"]]
)
def test_vars_takes_new_keys(words: list[str]) -> None:
    assert Composer().compose([*words, "trials=${vars.n}"]).trials == 3


def test_vars_can_be_swept() -> None:
    jobs = Composer().jobs(["vars.n=3,4", "trials=${vars.n}"], multirun=True)
    assert [config.trials for config in jobs.configs] == [3, 4]
    assert jobs.swept == {"vars.n"}


def test_an_interval_is_checked_at_its_ends() -> None:
    values = Composer().values(["trials=interval(1,5)", "evaluator.fail_rate=interval(0.1,0.5)"])
    assert values["trials"] == ["trials=1", "trials=5"]
    assert values["evaluator.fail_rate"] == ["evaluator.fail_rate=0.1", "evaluator.fail_rate=0.5"]


def test_words_of_a_resume_are_read_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MORE", "50")
    words = ["trials=${oc.env:MORE}", "dataset.path=ü (1)", "output.plots=false", "tracker.tags=[a,ü]"]
    assert as_values(words) == {
        "trials": 50,
        "dataset.path": "ü (1)",
        "output.plots": False,
        "tracker.tags": ["a", "ü"],
    }
