"""Children that begin with the weights of their parents: which ones do, and that these weights are kept for them."""

import pytest

from nasrun.core import Genome, Trial
from nasrun.core.options import ConfigError
from tests.support import measure, setup_of

SMALLER = ("search_space=staged_cnn", "strategy.population=4", "strategy.start=none", "evaluator=train")
FURTHER = {"aging_evolution": ("strategy.sample=2",), "genetic": (), "nsga2": ()}


@pytest.mark.parametrize("inherit", ["none", "morphisms", "all"])
@pytest.mark.parametrize("strategy", FURTHER)
def test_children_inherit_what_they_can(strategy: str, inherit: str) -> None:
    setup = setup_of(*SMALLER, f"strategy={strategy}", *FURTHER[strategy], f"strategy.inherit={inherit}")
    landscape = setup_of("search_space=staged_cnn")
    genomes: list[Genome] = []
    starts: set[str] = set()
    for number in range(40):
        kept = set(setup.strategy.required_checkpoints())
        [proposal] = setup.strategy.ask(1)
        genomes.append(proposal.genome)
        if proposal.parent is None:
            expected = "none"
        else:
            morph = setup.space.can_morph(genomes[proposal.parent], proposal.genome)
            expected = "morph" if morph else "inherit" if inherit == "all" else "none"
        assert proposal.warm_start == (expected if inherit != "none" else "none")
        starts.add(proposal.warm_start)
        assert proposal.warm_start == "none" or proposal.parent in kept
        trial = Trial(number, proposal)
        setup.strategy.tell(trial, measure(landscape, trial))
    assert starts == {"none": {"none"}, "morphisms": {"none", "morph"}, "all": {"none", "morph", "inherit"}}[inherit]
    # No more than the models that may be parents.
    assert len(setup.strategy.required_checkpoints()) <= (8 if inherit != "none" else 0)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("search_space=mlp", "evaluator=train"), "strategy.inherit=morphisms: this search space has none; use"),
        (("search_space=staged_cnn",), "strategy.inherit=morphisms: needs evaluator=train, which saves"),
        (("search_space=staged_cnn", "evaluator=train", "time=1m"), "time=1m: is not supported with inherited weights"),
    ],
)
def test_where_nothing_can_be_inherited_it_is_refused(words: tuple[str, ...], told: str) -> None:
    with pytest.raises(ConfigError, match="inherit") as raised:
        setup_of("strategy=aging_evolution", "strategy.inherit=morphisms", *words)
    assert str(raised.value).startswith(told)
