"""The requirements of `strategy=derived`, and the one-line message if one is missing."""

import pytest

from nasrun.core.options import ConfigError
from tests.support import setup_of

DERIVED = ("strategy=derived", "evaluator=darts", "search_space=nasbench201")


def test_what_it_needs_is_there() -> None:
    assert setup_of(*DERIVED).options.deduplicate == "never"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("strategy=derived",),
            "strategy=derived: this evaluator derives no architectures; choose evaluator=",
        ),
        (
            ("strategy=derived", "evaluator=supernet", "search_space=nasbench201"),
            "strategy=derived: this evaluator derives",
        ),
        ((*DERIVED, "evaluator.rounds=3"), "evaluator.rounds=3: strategy=derived proposes one architecture after each"),
        ((*DERIVED, "deduplicate=resample"), "deduplicate=resample: strategy=derived can only propose the derived"),
        ((*DERIVED, "constraints.parameters=900000"), "constraints.parameters=900000: strategy=derived ignores limits"),
        (
            ("evaluator=darts", "search_space=macro_cnn"),
            "search_space=MacroCNN: has no mixed operations, which evaluator=darts trains; choose "
            "search_space=micro_cell or nasbench201",
        ),
        (
            (*DERIVED, "evaluator.second_order=true", "evaluator.skip_dropout=0.5"),
            "evaluator.skip_dropout=0.5: the second order compares losses",
        ),
        ((*DERIVED, "hardware.workers=2"), "hardware.workers=2: evaluator=darts trains in one process"),
        ((*DERIVED, "prescreen=naswot"), "prescreen.score=naswot: Derived does not draw proposals"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_of(*words)
    assert str(caught.value).startswith(text), str(caught.value)
    assert "\n" not in str(caught.value)
