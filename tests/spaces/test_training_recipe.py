"""Training recipes: what the genes do to training and network, and that weights carry over between any two."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nasrun.core import Job, Proposal, Task, Trial
from nasrun.core.options import ConfigError
from nasrun.spaces.sections import make_space
from nasrun.spaces.training_recipe.settings import ACTIVATIONS, OPTIMIZERS
from nasrun.spaces.training_recipe.space import TrainingRecipe
from tests.support import setup_of, with_options

PICTURES = Task("gaps", 4, 32, 32, 3, kind="regression")
DIGITS = Task("digits", 1, 28, 28, 10)
MLP = {"_target_": "nasrun.spaces.mlp.space.Mlp", "activations": ["swish", "relu"]}


def base(section: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    """The options of a recipe for a network of another space."""
    space = make_space(section)
    genome = space.format(space.sample(np.random.default_rng(seed)))
    return {"model": "genome", "base": section, "genome": genome}


MODELS: list[tuple[dict[str, Any], Task]] = [
    ({}, DIGITS),
    ({"widths": [8, 8, 4]}, DIGITS),
    ({"widths": [8]}, PICTURES),
    ({"model": "small_cnn"}, DIGITS),
    ({"model": "auto_encoder", "widths": [4, 6]}, PICTURES),
    (base(MLP), DIGITS),
]


@pytest.mark.parametrize(("options", "task"), MODELS)
def test_cost_and_shape(options: dict[str, Any], task: Task) -> None:
    space = with_options(TrainingRecipe, **options)
    assert task.kind in space.kinds
    assert space.start is not None
    model = space.build(space.start, task)
    with FlopCounterMode(display=False) as counter:
        output = model(torch.rand(1, task.channels, task.height, task.width))
    shape = (1, task.outputs) if task.kind == "classification" else (1, task.outputs, task.height, task.width)
    assert output.shape == shape
    cost = space.cost(space.start, task)
    assert cost.parameters == sum(weight.numel() for weight in model.parameters())
    assert cost.flops == counter.get_total_flops()


@pytest.mark.parametrize(("options", "task"), MODELS)
def test_weights_carry_over_between_any_two_genomes(options: dict[str, Any], task: Task) -> None:
    space = with_options(TrainingRecipe, **options)
    rng = np.random.default_rng(1)
    first, second = (space.build(space.sample(rng), task) for _ in range(2))
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_genes_are_the_activations_of_the_layers() -> None:
    space = with_options(TrainingRecipe, widths=[8, 8])
    model = space.build(space.parse("sgd-17-Hardshrink-ReLU6"), DIGITS)
    assert [type(part) for part in model.children()] == [
        nn.Flatten,
        nn.Linear,
        nn.Hardshrink,
        nn.Linear,
        nn.ReLU6,
        nn.Linear,
    ]


def test_the_activation_of_the_output_is_a_gene_where_that_is_wished() -> None:
    space = with_options(TrainingRecipe, widths=[8], outputs=["LogSoftmax", "Softmax", "Softmin"])
    assert space.start == ("adam", 32, "ReLU", "LogSoftmax")
    assert space.size == 4 * 200 * 9 * 3
    model = space.build(space.parse("sgd-17-Tanh-Softmin"), DIGITS)
    torch.testing.assert_close(model(torch.rand(5, 1, 28, 28)).sum(1), torch.ones(5))
    assert space.name_of(3) == "output activation"
    rng, changed = np.random.default_rng(0), Counter[int]()
    for _ in range(400):
        child = space.mutations["activation"](space.start, rng)
        changed.update(place for place in range(4) if child[place] != space.start[place])
    assert set(changed) == {2, 3}
    assert 150 < changed[3] < 250, "each layer is as likely as the others"
    plain = with_options(TrainingRecipe, widths=[8])
    assert plain.build(plain.start, DIGITS)[-1].__class__ is nn.Linear


def test_mutations_may_change_nothing_where_that_is_wished() -> None:
    for allowed in (True, False):
        space = with_options(TrainingRecipe, widths=[8], null_mutations=allowed)
        assert space.start is not None
        rng = np.random.default_rng(0)
        for name, share in (("optimizer", 1 / 4), ("activation", 1 / 9), ("batch_size", 1 / 21)):
            same = sum(space.mutations[name](space.start, rng) == space.start for _ in range(1000))
            assert same == pytest.approx(1000 * share, rel=0.4) if allowed else same == 0


def test_rates_are_those_that_are_asked_for() -> None:
    for rates, sgd in (("torch", 0.001), ("published", 0.00001)):
        space = with_options(TrainingRecipe, widths=[8], rates=rates)
        assert space.hparams(("sgd", 32, "ReLU"))["lr"] == sgd
        assert space.hparams(("adam", 32, "ReLU"))["lr"] == 0.001
        assert space.hparams(("adadelta", 32, "ReLU"))["lr"] == 1.0


def test_activations_of_another_space_are_replaced_in_their_order() -> None:
    cnn = dict(setup_of("search_space=sequential_cnn").space.section or {})
    options = base(cnn)
    space = with_options(TrainingRecipe, **options)
    assert space.section is not None
    assert space.start is not None
    original = make_space(cnn).build(make_space(cnn).parse(options["genome"]), DIGITS)
    count = len(space.start) - 2
    assert count == options["genome"].count("-") + 2, "each convolution has one, and the dense layer"
    names = [ACTIVATIONS[number % len(ACTIVATIONS)] for number in range(count)]
    model = space.build(("adam", 32, *names), DIGITS)
    found = [type(part).__name__ for part in model.modules() if not list(part.children())]
    assert [name for name in found if name in ACTIVATIONS] == names
    assert set(model.state_dict()) == set(original.state_dict())


def test_the_best_of_a_finished_run(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    (tmp_path / ".hydra" / "config.yaml").write_text(
        "search_space:\n  _target_: nasrun.spaces.mlp.space.Mlp\n  min_depth: ${vars.least}\n  max_depth: 3\n"
        "vars: {least: 1}\n"
    )
    (tmp_path / "best.json").write_text('{"genome": "48-16-32"}')
    space = with_options(TrainingRecipe, model="genome", run=str(tmp_path))
    assert space.start == ("adam", 32, "ReLU", "ReLU", "ReLU")
    assert space.section is not None
    assert "run" not in space.section, "an archive needs nothing beside itself"
    again = make_space(space.section)
    assert again.start == space.start
    assert again.cost(space.start, DIGITS) == space.cost(space.start, DIGITS)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"widths": []}, "widths=[]: "),
        ({"batch_size": 300}, "batch_size=300: must be from min_batch=1 to max_batch=200"),
        ({"optimizers": ["sgd"]}, "optimizer=adam: not one of optimizers="),
        ({"run": "/nowhere"}, "run=/nowhere: needs model=genome"),
        ({"model": "genome"}, "base=null: "),
        ({"model": "auto_encoder", "outputs": ["Softmax"]}, r"outputs=[Softmax]: needs classification"),
        ({"model": "genome", "run": "/nowhere"}, "run=/nowhere: no finished run"),
        ({"model": "genome", "base": MLP, "genome": "x"}, "genome=x: character 1"),
        ({"model": "genome", "base": {"_target_": "os.system"}, "genome": "x"}, "base="),
    ],
)
def test_mistakes(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="^" + text.replace("[", r"\[")) as caught:
        with_options(TrainingRecipe, **options)
    assert len(str(caught.value).splitlines()) == 1


def test_pictures_that_cannot_be_halved_are_refused() -> None:
    space = with_options(TrainingRecipe, model="auto_encoder")
    assert space.start is not None
    with pytest.raises(ValueError, match="30 x 30 cannot be halved 2 times"):
        space.build(space.start, Task("odd", 4, 30, 30, 3, kind="regression"))


def test_hparams_of_a_genome_lie_between_the_evaluators_and_the_proposals() -> None:
    setup = setup_of("evaluator=train", "search_space=training_recipe", "evaluator.lr=0.5", "evaluator.clip_norm=3")

    def settings(genome: str, **hparams: Any) -> Any:
        proposal = Proposal(setup.space.parse(genome), hparams, 7)
        return setup.evaluator.settings_of(Job(Trial(0, proposal), 0, 1))  # type: ignore[attr-defined]

    found = settings("sgd-17-Tanh")
    assert (found.optimizer, found.batch_size, found.lr, found.momentum, found.nesterov) == (
        "sgd",
        17,
        0.001,
        0.9,
        False,
    )
    assert (found.clip_norm, found.epochs) == (3, 7)
    assert settings("adamw-17-Tanh").weight_decay == 0.01
    assert settings("adadelta-17-Tanh").lr == 1.0
    assert settings("adam-17-Tanh", lr=0.25, batch_size=9).lr == 0.25


def test_rates_of_the_evaluator() -> None:
    assert dict(with_options(TrainingRecipe, rates="evaluator").hparams(("sgd", 5, "ReLU"))) == {
        "optimizer": "sgd",
        "batch_size": 5,
    }


def test_learning_rate_and_decay_as_genes() -> None:
    space = with_options(TrainingRecipe, lrs=[0.1, 0.00001, 0.003], weight_decays=[0, 0.5])
    assert space.start == ("adam", 32, "0.003", "0.5", "ReLU")
    genome = space.parse("sgd-8-0.00001-0-ELU")
    found = space.hparams(genome)
    assert (found["lr"], found["weight_decay"]) == (0.00001, 0.0)
    assert set(space.mutations) == {"optimizer", "activation", "batch_size", "lr", "weight_decay"}
    assert space.mutations["lr"](genome, np.random.default_rng(0))[2] == "0.003", "the next one of the list"


def test_mutations_change_one_gene_as_published() -> None:
    space = with_options(TrainingRecipe, widths=[4, 4], min_batch=1, max_batch=200)
    rng = np.random.default_rng(3)
    for genome in (("adam", 32, "ReLU", "Tanh"), ("sgd", 1, "ELU", "ELU"), ("sgd", 200, "ELU", "ELU")):
        reached: dict[str, Counter[object]] = {name: Counter() for name in space.mutations}
        for name, mutate in space.mutations.items():
            for _ in range(400):
                child = mutate(genome, rng)
                assert sum(a != b for a, b in zip(genome, child, strict=True)) == 1
                reached[name][child] += 1
        size = int(genome[1])
        sizes = {child[1] for child in reached["batch_size"]}  # type: ignore[index]
        assert sizes == set(range(max(1, size - 10), min(200, size + 10) + 1)) - {size}
        assert len(reached["optimizer"]) == len(OPTIMIZERS) - 1
        assert len(reached["activation"]) == 2 * (len(ACTIVATIONS) - 1)


def test_regression_needs_a_model_for_it() -> None:
    words = ("evaluator=train", "search_space=training_recipe", "search_space.model=small_cnn", "dataset=gap_filling")
    with pytest.raises(ConfigError, match="is for regression"):
        setup_of(*words)
