"""Differentiable methods: how each uses its architecture weights, when they learn, and what is derived."""

from typing import Any

import numpy as np
import pytest
import torch

from nasrun.core import Genome
from nasrun.core.options import ConfigError
from nasrun.evaluators.differentiable import gdas
from nasrun.evaluators.differentiable.sgas import certainty, scaled, shares_of, stability
from nasrun.spaces.nasbench201.encoding import OPERATIONS
from tests.support import FOUR_CLASSES, setup_of

SMALL = (
    "search_space=nasbench201",
    "search_space.channels=4",
    "search_space.cells=1",
    "evaluator.batch_size=16",
    *FOUR_CLASSES,
)
METHODS = ("darts", "gdas", "pc_darts", "sgas")


def prepared(method: str, *words: str) -> Any:
    evaluator: Any = setup_of(f"evaluator={method}", *SMALL, *words).evaluator
    evaluator.prepare()
    return evaluator


def epoch(evaluator: Any, number: int, epochs: int, seed: int = 0) -> Any:
    return evaluator.train_shared(lambda rng: (), np.random.default_rng((seed, number)), number, epochs)


def put(evaluator: Any, *rows: list[float]) -> Any:
    """Architecture weights, as probabilities: the first rows as given, the others uniform."""
    weights = evaluator.trainer.architecture
    with torch.no_grad():
        for place, logits in enumerate(weights.logits):
            row = rows[place] if place < len(rows) else [0.2] * 5
            logits.copy_(torch.tensor(row).log())
    return weights


@pytest.mark.parametrize("method", METHODS)
def test_learning_lowers_the_loss_of_what_the_weights_come_to(method: str) -> None:
    """With the shared weights as they are, by steps of the architecture weights on one batch alone."""
    # Draws of gdas are as their weights say, and these learn, at a temperature of about 1.
    words = {"pc_darts": ("evaluator.partial=2",), "gdas": ("evaluator.temperature=1.09",)}.get(method, ())
    evaluator = prepared(method, "evaluator.architecture_lr=0.1", "dataset.noise=0.05", *words)
    epoch(evaluator, 1, 4)
    trainer = evaluator.trainer
    batch = trainer.first_batch(evaluator.parts["judged"])

    def loss() -> float:
        with torch.no_grad():
            return float(np.mean([trainer.loss(batch).item() for _ in range(60 if method == "gdas" else 1)]))

    before = loss()
    for _ in range(100 if method == "gdas" else 30):
        trainer.learn(batch, batch, 0.1, second_order=False)
    assert loss() < before - 0.01


@pytest.mark.parametrize("method", METHODS)
def test_an_epoch_says_what_came_of_it(method: str) -> None:
    words = ("evaluator.partial=2", "evaluator.architecture_warm_up=0") if method == "pc_darts" else ()
    metrics = epoch(prepared(method, *words), 1, 2)
    own = {"sgas": {"decided"}}.get(method, set())
    common = {"architecture_loss", "held_out_accuracy", "skips", "certainty", "train_loss", "train_accuracy", "lr"}
    assert set(metrics) == common | own


def test_halves_of_the_training_images_have_nothing_in_common() -> None:
    evaluator = prepared("darts")
    parts = evaluator.parts
    seen = {name: {image.numpy().tobytes() for image in parts[name].images} for name in ("trained", "judged")}
    assert len(seen["trained"]) == len(seen["judged"]) == 60
    assert not seen["trained"] & seen["judged"]
    assert seen["trained"] | seen["judged"] == {image.numpy().tobytes() for image in parts["train"].images}
    other = prepared("darts", "evaluator.architecture_data=validation")
    assert other.parts["judged"] is other.parts["scored"]
    assert len(other.parts["trained"]) == 120


def test_warm_up_leaves_the_architecture_weights_alone() -> None:
    evaluator = prepared("darts", "evaluator.architecture_warm_up=1")
    metrics = epoch(evaluator, 1, 4)
    assert "architecture_loss" not in metrics
    before = evaluator.derived()
    assert "architecture_loss" in epoch(evaluator, 2, 4)
    assert evaluator.derived() != before
    settings = prepared("pc_darts", "evaluator.partial=2").settings
    assert [settings.warm_up_epochs(epochs) for epochs in (50, 10, 3)] == [15, 3, 0]


def test_too_many_skips_end_the_learning_and_are_taken_back() -> None:
    evaluator = prepared("darts", "evaluator.max_skips=2", "evaluator.architecture_lr=0.000001")
    epoch(evaluator, 1, 6)
    skip = [0.1, 0.6, 0.1, 0.1, 0.1]
    assert OPERATIONS[1] == "skip_connect"
    put(evaluator, skip, skip, [0.1, 0.29, 0.41, 0.1, 0.1])
    assert epoch(evaluator, 2, 6)["stopped"] == 0
    allowed = evaluator.derived()
    assert allowed.genome.count("skip_connect") == 2
    put(evaluator, skip, skip, skip)
    before = evaluator.derived()
    metrics = epoch(evaluator, 3, 6)
    assert metrics["stopped"] == 1
    assert evaluator.derived() == before, "as before the epoch"
    assert "architecture_loss" not in epoch(evaluator, 4, 6)
    assert evaluator.derived() == before


def test_dropout_of_skip_connections_falls_to_nothing() -> None:
    evaluator = prepared("darts", "evaluator.skip_dropout=0.5")
    value = torch.ones(4000, 2, 1, 1)
    for number, share in ((1, 0.5), (2, 0.25)):
        epoch(evaluator, number, 3)
        mixture = evaluator.trainer.mixture()
        dropped = mixture.dropped("skip_connect", value)
        assert (dropped == 0).float().mean().item() == pytest.approx(share, abs=0.03)
        assert dropped.mean().item() == pytest.approx(1, abs=0.05)
        assert torch.equal(dropped[:, 0], dropped[:, 1]), "an image's as a whole"
        assert mixture.dropped("nor_conv_3x3", value) is value
    epoch(evaluator, 3, 3)
    assert evaluator.trainer.mixture().dropped("skip_connect", value) is value


class TestGdas:
    """One architecture, drawn."""

    def test_draws_are_as_frequent_as_the_weights_say(self) -> None:
        logits, noise = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log(), torch.Generator().manual_seed(0)
        places = [gdas.drawn(logits, 5.0, noise)[1] for _ in range(4000)]
        shares = np.bincount(places, minlength=5) / len(places)
        assert shares == pytest.approx([0.5, 0.2, 0.15, 0.1, 0.05], abs=0.03)

    def test_a_draw_is_one_hot_with_the_gradient_of_its_softmax(self) -> None:
        logits = torch.tensor([0.4, 0.3, 0.1, 0.1, 0.1]).log().requires_grad_()
        generator = torch.Generator().manual_seed(0)
        target = torch.tensor([1.0, -2.0, 0.5, 3.0, 0.0])
        for temperature in (10.0, 0.5):
            state = generator.get_state()
            row, place = gdas.drawn(logits, temperature, generator)
            assert row.tolist() == [float(place == at) for at in range(5)]
            [found] = torch.autograd.grad((row * target).sum(), [logits])
            generator.set_state(state)
            noise = -torch.empty(5).exponential_(generator=generator).log()
            soft = torch.softmax((torch.log_softmax(logits, 0) + noise) / temperature, 0)
            assert int(soft.argmax()) == place
            [expected] = torch.autograd.grad((soft * target).sum(), [logits])
            torch.testing.assert_close(found, expected)
            assert found.abs().max() > 1e-4

    def test_the_temperature_falls_on_a_line(self, monkeypatch: pytest.MonkeyPatch) -> None:
        evaluator = prepared("gdas")
        seen: list[float] = []
        drawn = gdas.drawn

        def watched(logits: Any, temperature: float, noise: Any) -> Any:
            seen.append(temperature)
            return drawn(logits, temperature, noise)

        monkeypatch.setattr(gdas, "drawn", watched)
        for number in range(1, 4):
            epoch(evaluator, number, 3)
        assert list(dict.fromkeys(round(value, 6) for value in seen)) == [10.0, 5.05, 0.1]

    def test_a_step_computes_one_operation_an_edge(self) -> None:
        evaluator = prepared("gdas")
        put(evaluator, *[[1e-9, 1e-9, 1e-9, 1 - 4e-9, 1e-9]] * 6)
        mixture = evaluator.trainer.mixture()
        assert [[term.token for term in mixture.at(place)] for place in range(6)] == [["nor_conv_3x3"]] * 6


class TestPCDarts:
    """A share of the channels, and edges weighed against each other."""

    def test_edges_into_a_node_share_its_weight(self) -> None:
        evaluator = prepared("pc_darts", "evaluator.partial=2")
        shares = evaluator.trainer.architecture.edge_shares()
        assert shares[0] is None, "one edge alone"
        assert (shares[1] + shares[2]).item() == pytest.approx(1)
        assert (shares[3] + shares[4] + shares[5]).item() == pytest.approx(1)

    def test_edges_learn_too(self) -> None:
        evaluator = prepared("pc_darts", "evaluator.partial=2", "evaluator.architecture_warm_up=0")
        epoch(evaluator, 1, 2)
        before = [logits.detach().clone() for logits in evaluator.trainer.architecture.edges]
        epoch(evaluator, 2, 2)
        after = evaluator.trainer.architecture.edges
        assert len(after) == 2
        assert all(not torch.equal(one, other) for one, other in zip(before, after, strict=True))

    def test_channels_that_cannot_be_divided_are_refused(self) -> None:
        with pytest.raises(ConfigError) as caught:
            setup_of("evaluator=pc_darts", *SMALL, "search_space.channels=6")
        assert str(caught.value).startswith("evaluator.partial=4: the first operations of the search space have 6 ")
        assert "\n" not in str(caught.value)

    def test_there_is_no_test_with_weights_of_other_operations(self) -> None:
        from tests.contracts.test_evaluators import jobs_of

        setup = setup_of("evaluator=pc_darts", *SMALL)
        setup.evaluator.prepare()
        assert setup.evaluator.final(jobs_of(setup)[0]) == {}
        assert setup.evaluator.final_step.startswith("no test, since the search is on a share of the channels")


class TestSgas:
    """Decisions, one after another."""

    @pytest.mark.parametrize("criterion", [1, 2])
    def test_every_position_is_decided_once_and_for_good(self, criterion: int) -> None:
        words = ("evaluator.warm_up_epochs=1", "evaluator.architecture_lr=0.1", f"evaluator.criterion={criterion}")
        evaluator = prepared("sgas", *words)
        known: dict[int, int] = {}
        counts = []
        for number in range(1, 8):
            told = epoch(evaluator, number, 7)
            fixed = dict(evaluator.trainer.architecture.fixed)
            assert known.items() <= fixed.items(), "what is decided stays"
            counts.append(len(fixed))
            assert told["decided"] == len(fixed)
            known = fixed
            for place, choice in fixed.items():
                assert evaluator.derived().genome[place] == OPERATIONS[choice]
                assert [term.token for term in evaluator.trainer.mixture().at(place)] == [OPERATIONS[choice]]
        assert counts == [0, 1, 2, 3, 4, 5, 6]
        assert set(known) == set(range(6))

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ((), {9: 0, 10: 0, 16: 1, 30: 3, 50: 6, 60: 6}),
            (("evaluator.decision_epochs=5",), {9: 0, 10: 1, 14: 1, 15: 2, 35: 6, 50: 6}),
            (("evaluator.warm_up_epochs=60",), {50: 0}),
        ],
    )
    def test_when_decisions_are_made(self, words: tuple[str, ...], expected: dict[int, int]) -> None:
        evaluator: Any = setup_of("evaluator=sgas", *SMALL, *words).evaluator
        assert {number: evaluator.due(number, 50) for number in expected} == expected

    def test_the_readiest_is_the_certain_one_with_little_none(self) -> None:
        evaluator: Any = setup_of("evaluator=sgas", *SMALL).evaluator
        even, sure = [0.2] * 5, [0.05, 0.05, 0.05, 0.8, 0.05]
        nothing = [0.8, 0.01, 0.01, 0.17, 0.01]
        rows = [np.array(row) for row in (even, sure, nothing, even, even, even)]
        scores = evaluator.scores(rows, np.empty((0, 30)), range(6))
        assert int(np.argmax(scores)) == 1
        assert scores[2] == 0, "the most none"

    def test_a_stable_one_comes_first_by_the_second_criterion(self) -> None:
        evaluator: Any = setup_of("evaluator=sgas", *SMALL, "evaluator.criterion=2").evaluator
        sure, other, even = [0.05, 0.05, 0.05, 0.8, 0.05], [0.05, 0.8, 0.05, 0.05, 0.05], [0.2] * 5
        rows = [np.array(row) for row in (sure, sure, even, even, even, even)]
        known = np.array([[*other, *sure, *even, *even, *even, *even]] * 2)
        scores = evaluator.scores(rows, known, range(6))
        assert int(np.argmax(scores)) == 1
        assert scores[0] < scores[1]

    def test_what_the_criteria_measure(self) -> None:
        assert shares_of(np.array([0.5, 0.25, 0.25]), [0]).tolist() == [0.5, 0.5]
        assert certainty(np.array([0.25] * 4)) == pytest.approx(0)
        assert certainty(np.array([1.0, 0, 0, 0])) == pytest.approx(1)
        assert certainty(np.array([0.5, 0.5, 0, 0])) == pytest.approx(0.5)
        assert stability(np.array([0.7, 0.3]), []) == 1
        assert stability(np.array([0.7, 0.3]), [np.array([0.7, 0.3]), np.array([0.2, 0.8])]) == pytest.approx(0.75)
        assert scaled(np.array([1.0, 3.0, 2.0])).tolist() == [0, 1, 0.5]
        assert scaled(np.array([2.0, 2.0])).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("evaluator=gdas", "evaluator.temperature=0.05"),
            "evaluator.temperature_min=0.1: must be at most temperature",
        ),
        (("evaluator=sgas", "evaluator.criterion=3"), "evaluator.criterion=3: "),
        (("evaluator=darts", "evaluator.max_skips=-1"), "evaluator.max_skips=-1: must be at least 0"),
        (("evaluator=darts", "evaluator.architecture_betas=[0.5,1.0]"), "evaluator.architecture_betas=[0.5,1.0]: "),
        (("evaluator=darts", "evaluator.architecture_data=test"), "evaluator.architecture_data=test: "),
    ],
)
def test_mistakes_are_said_in_a_line(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_of("search_space=nasbench201", *words)
    assert str(caught.value).startswith(text), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_draw_of_the_space_is_scored_as_in_any_network_of_shared_weights() -> None:
    evaluator = prepared("darts")
    epoch(evaluator, 1, 2)
    genome: Genome = ("nor_conv_3x3",) * 6
    part = evaluator.parts["held_out"]
    found = evaluator.trainer.score(genome, part, 100)
    images, labels = evaluator.trainer.inputs(part, torch.arange(len(part)))
    with torch.no_grad():
        right = (evaluator.trainer.model.eval()(images, genome).argmax(1) == labels).float().mean().item()
    assert found["accuracy"] == pytest.approx(right)
