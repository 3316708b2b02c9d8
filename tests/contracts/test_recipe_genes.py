"""What every search space promises, held by spaces with genes for training settings; and what those genes promise."""

from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from nasrun.core import SearchSpace
from nasrun.core.options import ConfigError
from nasrun.spaces.recipe_genes import RecipeGenes, RecipeOptions, take_options, with_genes
from nasrun.spaces.sections import make_space
from nasrun.training.settings import SCALED, TrainSettings
from tests.contracts import test_search_spaces as contract
from tests.contracts.test_search_spaces import (  # noqa: F401
    ROOT,
    TASKS,
    load,
    sampled,
    test_an_outline_is_the_network_without_values,
    test_build_and_cost,
    test_choices_reach_every_genome,
    test_crossover,
    test_encode_and_decode,
    test_every_vector_decodes,
    test_format_and_parse,
    test_mutations,
    test_parse_refuses_or_stays_in_the_space,
    test_samples_are_plain_valid_and_varied,
    test_validate_refuses_what_choices_do_not_offer,
    test_walks_through_choices_end_in_the_space,
)

GENES = ("lr", "weight_decay", "augmentation", "label_smoothing")
SPACES = [
    "staged_cnn",
    "sequential_cnn",
    "macro_cnn",
    "micro_cell",
    "mlp",
    "nasbench101",
    "nasbench201",
    "randomly_wired",
]


def inner_of(name: str) -> SearchSpace:
    return load(ROOT / "conf" / "search_space" / f"{name}.yaml")


@pytest.fixture(scope="module", params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return with_genes(inner_of(request.param), RecipeOptions(recipe=["lr", "augmentation"]))


@pytest.fixture(scope="module")
def networks() -> int:
    return 20


def test_every_option_but_one_takes_genes() -> None:
    # nasnet is micro_cell with other options.
    assert sorted([*SPACES, "nasnet", "training_recipe"]) == [path.stem for path in contract.CONFIGS]
    with pytest.raises(ValueError, match=r"^recipe=\[lr\]: the genomes of TrainingRecipe are training settings"):
        with_genes(inner_of("training_recipe"), RecipeOptions(recipe=["lr"]))
    space = inner_of("mlp")
    assert with_genes(space, RecipeOptions()) is space


def test_a_seed_repeats(space: SearchSpace) -> None:
    assert contract.trajectory(space) == contract.trajectory(space)


def test_the_network_is_that_of_the_space_within(space: SearchSpace) -> None:
    assert isinstance(space, RecipeGenes)
    for genome in sampled(space, 20):
        network = space.network_of(genome)
        space.inner.validate(network)
        assert space.cost(genome, TASKS[0]) == space.inner.cost(network, TASKS[0])
        assert space.peak_values(genome, TASKS[0]) == space.inner.peak_values(network, TASKS[0])
        assert space.layers(genome) == space.inner.layers(network)
        assert space.hparams(genome) == space.inner.hparams(network)
        widths = [genome[place] for place in space.width_positions(genome)]
        assert widths == [network[place] for place in space.inner.width_positions(network)]


def test_a_network_has_the_factors_of_its_genome(space: SearchSpace) -> None:
    for genome in sampled(space, 20):
        factors = space.setting_factors(genome)
        assert list(factors) == list(space.scaled_settings) == ["lr", "augmentation"]
        assert [f"{factor:g}" for factor in factors.values()] == list(genome[:2])
        for other in sampled(space, 5, seed=1):
            same = space.setting_factors(other) == factors
            assert same == (space.key((*other[:2], *genome[2:])) == space.key(genome))


def test_mutations_change_either_the_network_or_one_factor_by_a_step(space: SearchSpace) -> None:
    assert isinstance(space, RecipeGenes)
    rng = np.random.default_rng(0)
    order = ["0.25", "0.5", "1", "2", "4"]
    for name, mutate in space.mutations.items():
        for genome in sampled(space, 30):
            child = mutate(genome, rng)
            changed = [place for place in range(2) if child[place] != genome[place]]
            if name not in space.scaled_settings:
                assert changed == []
                continue
            assert child[2:] == genome[2:]
            [place] = changed
            assert abs(order.index(str(child[place])) - order.index(str(genome[place]))) == 1
            assert space.scaled_settings[place] == name


def test_neighbours_are_a_step_away_each_once(space: SearchSpace) -> None:
    genome = next(sampled(space, 1))
    found = space.neighbours(genome)
    assert len(set(found)) == len(found)
    assert genome not in found
    for other in found[:50]:
        space.validate(other)
        assert (other[:2] == genome[:2]) != (other[2:] == genome[2:])


def test_known_networks_keep_the_recipe_of_the_run(space: SearchSpace) -> None:
    assert isinstance(space, RecipeGenes)
    known = space.known()
    assert list(known) == list(space.inner.known())
    for genome in known.values():
        space.validate(genome)
        assert set(space.setting_factors(genome).values()) == {1.0}


def test_a_string_without_factors_is_the_network_by_the_recipe_as_it_is(space: SearchSpace) -> None:
    assert isinstance(space, RecipeGenes)
    for genome in sampled(space, 20):
        text = space.inner.format(space.network_of(genome))
        assert space.parse(text) == ("1", "1", *space.network_of(genome))
        for wrong in (f"lr1@{text}", f"lr1_aug3@{text}", f"aug1_lr1@{text}", f"@{text}", f"lr1_aug1@@{text}"):
            with pytest.raises(ValueError, match=r"\S"):
                space.parse(wrong)


@pytest.mark.parametrize("recipe", [["lr", "augmentation"], {"lr": [0.5, 1.0]}])
@pytest.mark.parametrize("name", SPACES)
def test_the_section_makes_the_same_space(name: str, recipe: object) -> None:
    path = ROOT / "conf" / "search_space" / f"{name}.yaml"
    options: Any = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    made = make_space({**options, "recipe": recipe})
    assert isinstance(made, RecipeGenes)
    assert made.section is not None
    again = make_space(made.section)
    assert again.section == made.section
    assert contract.trajectory(again) == contract.trajectory(made)


def test_factors_of_ones_own() -> None:
    space = with_genes(inner_of("nasbench201"), RecipeOptions(recipe={"lr": [2.0, 1.0, 0.1], "weight_decay": [1.0]}))
    assert space.choices(()) == ("0.1", "1", "2")
    assert space.choices(("1",)) == ("1",)
    assert "lr" in space.mutations
    assert "weight_decay" not in space.mutations
    assert space.size == 3 * 15625


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ([], "search_space.recipe=[]: must not be empty"),
        ({}, "search_space.recipe={}: must not be empty"),
        (["lr", "lr"], "search_space.recipe=[lr,lr]: must not hold the same entry twice"),
        (["batch_size"], "search_space.recipe=[batch_size]: expected"),
        ({"lr": [0.5, 2]}, "search_space.recipe.lr=[0.5,2.0]: must include 1"),
        ({"lr": [0, 1]}, "search_space.recipe={lr:[0,1]}: must be above 0"),
        ({"lr": []}, "search_space.recipe={lr:[]}: must not be empty"),
        ("lr", "search_space.recipe=lr: expected a list"),
    ],
)
def test_what_is_no_recipe_is_refused(recipe: object, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        take_options({"recipe": recipe}, "search_space")
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_settings_are_multiplied() -> None:
    plain = TrainSettings(
        optimizer="sgd", shift=2, mixup=0.2, random_erasing=0.4, weight_decay=0.002, label_smoothing=0.1
    )
    assert plain.scaled({}) is plain or plain.scaled({}) == plain
    assert plain.scaled(dict.fromkeys(SCALED, 1.0)) == plain
    scaled = plain.scaled({"lr": 2.0, "augmentation": 4.0, "weight_decay": 0.5})
    assert (scaled.lr, scaled.weight_decay, scaled.label_smoothing) == (0.2, 0.001, 0.1)
    assert (scaled.shift, scaled.mixup, scaled.random_erasing, scaled.cutout) == (8, 0.8, 1.0, 0)
    assert plain.scaled({"augmentation": 0.5}).shift == 1


def test_what_is_multiplied_leaves_the_work_of_an_epoch_as_it_is() -> None:
    assert set(SCALED) == set(GENES)
    work = {"batch_size", "epoch_images", "first_size", "epochs", "ema", "test_flip", "micro_batch", "sampling"}
    assert not work & {name for names in SCALED.values() for name in names}
