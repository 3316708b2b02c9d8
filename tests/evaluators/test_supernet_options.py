"""Options of `evaluator=supernet`: what is drawn for a batch, what is added to training, what scores are made of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasrun.core.options import ConfigError
from nasrun.spaces.nasbench201.encoding import OPERATIONS
from nasrun.training.supernet import dropping
from nasrun.training.supernet.image_sizes import shrunk
from tests.evaluators.test_supernet import groups_of, job, prepared, spaces, weights_of


class TestSampling:
    """How the architectures of a batch are chosen."""

    POLICY = ("skip_connect",) * 6

    def test_a_policy_is_followed_after_the_warm_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for epoch, followed in ((1, False), (2, False), (3, True)):
            evaluator, _ = prepared("nasbench201", "evaluator.warm_up_epochs=2")
            groups = groups_of(evaluator, lambda rng: self.POLICY, monkeypatch, epoch)
            assert all(len(group) == 1 for group in groups)
            assert all(genome == self.POLICY for [genome] in groups) is followed

    @pytest.mark.parametrize("sampling", ["uniform", "weighted"])
    def test_a_policy_is_passed_over(self, sampling: str, monkeypatch: pytest.MonkeyPatch) -> None:
        evaluator, space = prepared("nasbench201", f"evaluator.sampling={sampling}")
        groups = groups_of(evaluator, lambda rng: self.POLICY, monkeypatch)
        rng = np.random.default_rng(0)
        assert (evaluator.sample(rng) is None) is (sampling == "uniform")
        assert {genome for [genome] in groups} != {self.POLICY}
        for [genome] in groups:
            space.validate(genome)

    @spaces
    def test_a_fair_group_has_every_choice_as_often(self, space: str, monkeypatch: pytest.MonkeyPatch) -> None:
        evaluator, chosen = prepared(space, "evaluator.sampling=fair")
        for group in groups_of(evaluator, None if space == "nasbench201" else chosen.sample, monkeypatch):
            for genome in group:
                chosen.validate(genome)
            if space == "nasbench201":
                for tokens in zip(*group, strict=True):
                    assert sorted(tokens) == sorted(OPERATIONS)
            places: dict[Any, list[Any]] = {}
            for genome in group:
                for place, token in enumerate(genome):
                    places.setdefault((place, chosen.choices(genome[:place])), []).append(token)
            for (_, legal), tokens in places.items():
                counts = [tokens.count(token) for token in legal]
                assert max(counts) - min(counts) <= 1

    @pytest.mark.parametrize("space", ["micro_cell", "nasbench201", "macro_cnn"])
    def test_a_sandwich_is_the_largest_and_the_smallest_with_others(
        self, space: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        evaluator, chosen = prepared(space, "evaluator.sampling=sandwich")
        groups = groups_of(evaluator, chosen.sample, monkeypatch)
        assert {len(group) for group in groups} == {4}
        [(largest, smallest)] = {(group[0], group[1]) for group in groups}
        flops = [chosen.cost(chosen.sample(np.random.default_rng(n)), evaluator.task).flops for n in range(30)]
        assert chosen.cost(smallest, evaluator.task).flops <= min(flops)
        assert max(flops) <= chosen.cost(largest, evaluator.task).flops
        if space == "nasbench201":
            assert largest == ("nor_conv_3x3",) * 6
        assert len({group[2] for group in groups}) > 1

    @pytest.mark.parametrize("distil", ["none", "inplace"])
    def test_a_group_is_one_step_by_the_sum_of_its_gradients(self, distil: str) -> None:
        words = ("evaluator.momentum=0", "evaluator.clip_norm=null", "evaluator.sampling=sandwich")
        evaluator, space = prepared("nasbench201", *words, f"evaluator.distil={distil}")
        trainer = evaluator.trainer
        genomes = [("nor_conv_3x3",) * 6, space.sample(np.random.default_rng(0))]
        images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
        answers, gradients = labels, dict[str, torch.Tensor]()
        trainer.model.train()
        for genome in genomes:
            outputs = trainer.model(images, genome)
            loss = torch.nn.functional.cross_entropy(outputs, answers)
            if distil == "inplace":
                answers = outputs.detach().softmax(1)
            found = torch.autograd.grad(loss, list(trainer.model.parameters()), allow_unused=True)
            for name, gradient in zip(weights_of(evaluator), found, strict=True):
                if gradient is not None:
                    gradients[name] = gradients.get(name, torch.zeros_like(gradient)) + gradient
        before = weights_of(evaluator)
        trainer.step(images, labels, genomes, 0.1)
        for name, weight in weights_of(evaluator).items():
            decay = 0.0001 * before[name] if name in gradients and before[name].ndim > 1 else 0.0
            expected = before[name] - 0.1 * (gradients.get(name, torch.zeros_like(weight)) + decay)
            torch.testing.assert_close(weight, expected, rtol=1e-4, atol=1e-6)

    def test_weights_by_cost_are_half_even(self) -> None:
        from nasrun.training.supernet.sampling import weights_by_cost

        evaluator, space = prepared("nasbench201", "evaluator.operation_weights=cost")
        weights = weights_by_cost(space, evaluator.task)
        assert set(weights) == set(OPERATIONS)
        assert sum(weights.values()) == pytest.approx(1, abs=1e-3)
        assert weights["none"] == weights["skip_connect"] == pytest.approx(0.1, abs=1e-3)
        assert weights["nor_conv_3x3"] > 2 * weights["nor_conv_1x1"] > 2 * weights["none"]
        rng = np.random.default_rng(1)
        tokens = [token for _ in range(500) for token in evaluator.sample(rng) or ()]
        assert tokens.count("nor_conv_3x3") / len(tokens) == pytest.approx(weights["nor_conv_3x3"], abs=0.03)
        assert prepared("macro_cnn", "evaluator.operation_weights=cost")[0].sample(rng) is not None

    @pytest.mark.parametrize(
        ("space", "words", "text"),
        [
            (
                "micro_cell",
                ("evaluator.sampling=weighted",),
                "evaluator.sampling=weighted: the search space names no weights of operations; give ",
            ),
            (
                "nasbench201",
                ("evaluator.sampling=fair", "evaluator.operation_weights={none:1}"),
                "evaluator.operation_weights={none:1.0}: nothing is drawn by them with evaluator.sampling=fair; use ",
            ),
            (
                "nasbench201",
                ("evaluator.distil=inplace",),
                "evaluator.distil=inplace: is for sampling=sandwich, whose largest architecture teaches the others",
            ),
            ("nasbench201", ("evaluator.sampling=often",), "evaluator.sampling=often: "),
            ("nasbench201", ("evaluator.warm_up_epochs=-1",), "evaluator.warm_up_epochs=-1: "),
            ("nasbench201", ("evaluator.image_size=0",), "evaluator.image_size=0: "),
            ("micro_cell", ("evaluator.image_size=9",), "evaluator.image_size=9: images have 8 x 8 already; give less"),
        ],
    )
    def test_mistakes_are_said_in_a_line(self, space: str, words: tuple[str, ...], text: str) -> None:
        with pytest.raises(ConfigError) as error:
            prepared(space, *words)
        assert str(error.value).startswith(text), str(error.value)
        assert len(str(error.value).splitlines()) == 1


def test_running_statistics_make_a_score_independent_of_its_batch() -> None:
    evaluator, space = prepared("nasbench201", "evaluator.statistics=recalibrated", "evaluator.score=whole")
    evaluator.train_shared(space.sample, np.random.default_rng(0), 1, 1)
    genome = ("nor_conv_3x3", "skip_connect", "nor_conv_1x1", "none", "avg_pool_3x3", "nor_conv_3x3")
    [found] = evaluator.evaluate([job(genome)])
    model = evaluator.stand_alone(genome)
    again = evaluator.trainer.measure(model, evaluator.parts["scored"])
    assert found.metrics["val_loss"] == again["loss"]
    part = evaluator.parts["scored"]
    one = evaluator.trainer.measure(model, part.some(torch.arange(1)))
    assert one["loss"] >= 0  # of one image, which no statistics of a batch could be made of
    with torch.no_grad():
        batch = evaluator.trainer.score(genome, part, 128)
    assert batch["loss"] != again["loss"]


def test_a_warm_up_counts_in_what_a_run_is_expected_to_take() -> None:
    evaluator, space = prepared("nasbench201", "evaluator.warm_up_epochs=50")
    genome = space.sample(np.random.default_rng(0))
    ticks = iter(range(1000))
    # An epoch of four steps of a tick each, shared by 30 trials, and a score.
    assert evaluator.estimate(job(genome).trial, lambda: float(next(ticks))) == pytest.approx(4 / 30 + 1)
    assert evaluator.estimate_start(genome) > 0
    assert prepared("nasbench201")[0].estimate_start(genome) == 0


class TestDroppedPaths:
    """Operations that give nothing for a share of the images, while training."""

    def test_so_large_a_share_is_dropped(self) -> None:
        value = torch.ones(4000, 2, 1, 1)
        kept = dropping.dropped(value, 0.3, torch.Generator().manual_seed(0))
        assert float((kept == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
        assert kept.max().item() == pytest.approx(1 / 0.7)

    @pytest.mark.parametrize(("operation", "same"), [("skip_connect", True), ("nor_conv_3x3", False)])
    def test_skip_connections_stay(self, operation: str, same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        evaluator, _ = prepared("nasbench201", "evaluator.drop_path=0.5", "evaluator.sampling=policy")
        genome = (operation,) * 6
        trained = groups_of(evaluator, lambda rng: genome, monkeypatch, epoch=3)
        assert trained
        model, images = evaluator.trainer.model, torch.rand(8, 1, 8, 8)
        for [mixture] in trained:
            assert torch.equal(model(images, mixture), model(images, genome)) is same

    def test_it_grows_over_the_epochs_and_is_of_training_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rates = []
        evaluator, space = prepared("nasbench201", "evaluator.drop_path=0.4")
        inner = dropping.with_dropped_paths

        def watched(draws: Any, skip: Any, rate: float, noise: Any) -> Any:
            rates.append(rate)
            return inner(draws, skip, rate, noise)

        monkeypatch.setattr(dropping, "with_dropped_paths", watched)
        for epoch in (1, 2, 4):
            evaluator.train_shared(space.sample, np.random.default_rng(epoch), epoch, 4)
        assert rates == pytest.approx([0.1, 0.2, 0.4])
        [one], [two] = (list(evaluator.evaluate([job(("nor_conv_3x3",) * 6)])) for _ in range(2))
        assert one.metrics == two.metrics

    def test_a_network_that_cannot_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"^evaluator\.drop_path=0\.1: the network of all architectures"):
            prepared("macro_cnn", "evaluator.drop_path=0.1")


class TestAuxiliaryHead:
    """A second classifier within the network."""

    def test_its_loss_is_added_and_it_learns(self) -> None:
        evaluator, space = prepared("micro_cell", "evaluator.auxiliary=0.4")
        trainer = evaluator.trainer
        assert trainer.auxiliary is not None
        before = {name: weight.detach().clone() for name, weight in trainer.auxiliary.named_parameters()}
        images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
        genome = space.sample(np.random.default_rng(0))
        seen: list[torch.Tensor] = []
        trainer.model.cells[1].register_forward_hook(lambda part, given, output: seen.append(output))  # type: ignore
        trainer.model.train()
        trainer.model(images, genome)
        features = seen[0].detach()
        first = torch.nn.functional.cross_entropy(trainer.auxiliary(features), labels).item()
        told = trainer.auxiliary.loss(labels).item()
        assert told == pytest.approx(0.4 * first, rel=1e-4)
        trainer.step(images, labels, [genome], 0.05)
        assert all(not torch.equal(weight, before[name]) for name, weight in trainer.auxiliary.named_parameters())

    def test_it_is_saved_and_has_no_part_in_scores(self, tmp_path: Path) -> None:
        one, space = prepared("micro_cell", "evaluator.auxiliary=0.4")
        one.train_shared(space.sample, np.random.default_rng(1), 1, 3)
        one.save(tmp_path / "1.safetensors")
        other, _ = prepared("micro_cell", "evaluator.auxiliary=0.4")
        other.load(tmp_path / "1.safetensors")
        results = [each.train_shared(space.sample, np.random.default_rng(2), 2, 3) for each in (one, other)]
        assert results[0] == results[1]
        metrics = one.final(job(space.sample(np.random.default_rng(0))))["metrics"]
        assert 0 <= metrics["test_accuracy"] <= 1

    def test_a_space_without_a_place_for_it_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"^evaluator\.auxiliary=0\.4: the network of all architectures"):
            prepared("nasbench201", "evaluator.auxiliary=0.4")


def test_images_may_be_divided_by_255_alone() -> None:
    evaluator, _ = prepared("nasbench201", "evaluator.standardise=false")
    part = evaluator.parts["train"]
    images, _ = evaluator.trainer.inputs(part, torch.arange(5))
    torch.testing.assert_close(images, part.images[:5].float() / 255)


class TestImageSize:
    """A search on smaller images."""

    def test_images_are_means_over_areas(self) -> None:
        from nasrun.training.data import DeviceSplit

        images = torch.tensor([[[[0, 10, 20, 30], [2, 12, 22, 32], [1, 1, 9, 9], [1, 1, 9, 10]]]], dtype=torch.uint8)
        split = DeviceSplit(images, torch.zeros(1, dtype=torch.long))
        assert shrunk(split, 2).images.tolist() == [[[[6, 26], [1, 9]]]]
        assert shrunk(split, 4) is split
        assert shrunk(split, 9) is split
        assert shrunk(split, None) is split

    def test_networks_are_of_small_images_and_prices_of_those_of_the_data(self) -> None:
        evaluator, space = prepared("nasbench201", "evaluator.image_size=4")
        assert {part.shape[1:] for part in evaluator.parts.values()} == {(4, 4)}
        genome = ("nor_conv_3x3",) * 6
        [found] = evaluator.evaluate([job(genome)])
        assert found.metrics["flops"] == space.cost(genome, evaluator.task).flops
        assert evaluator.final(job(genome)) == {}
        assert evaluator.final_step == "no test, since the search is on smaller images (evaluator.image_size)"
        assert prepared("nasbench201")[0].final_step == "test with the shared weights"

    def test_it_is_the_size_behind_the_border(self) -> None:
        evaluator, _ = prepared("nasbench201", "evaluator.pad_to=12", "evaluator.image_size=6")
        assert evaluator.parts["train"].shape[1:] == (6, 6)


class TestSplit:
    """Few-shot: weights of their own for each choice at one position."""

    WORDS = ("evaluator.split=2", "evaluator.split_epochs=1")

    @pytest.mark.parametrize("space", ["nasbench201", "micro_cell"])
    def test_each_choice_goes_on_from_the_weights_of_all(self, space: str, tmp_path: Path) -> None:
        evaluator, chosen = prepared(space, *self.WORDS, "evaluator.score=whole")
        choices, rng = chosen.positions()[1], np.random.default_rng(3)
        jobs = [job(chosen.sample(rng), number) for number in range(4)]
        first = evaluator.train_shared(chosen.sample, np.random.default_rng(1), 1, 3)
        before = [found.metrics for found in evaluator.evaluate(jobs)]
        whole = weights_of(evaluator)
        evaluator.split_weights()
        assert [found.metrics for found in evaluator.evaluate(jobs)] == before
        weights = weights_of(evaluator)
        assert {f"branches.{branch}.{name}" for branch in range(len(choices)) for name in whole} == set(weights)
        only = next(genome for genome in iter(lambda: chosen.sample(rng), None) if genome[1] == choices[-1])
        second = evaluator.train_shared(lambda rng: only, np.random.default_rng(2), 2, 3)
        assert (first["branches"], second["branches"]) == (1, len(choices))
        after, drawn = weights_of(evaluator), choices.index(only[1])
        assert {name.split(".")[1] for name in after if not torch.equal(after[name], weights[name])} == {str(drawn)}
        found = evaluator.final(job(only)._replace(save_to=str(tmp_path / "best" / "model.safetensors")))
        assert 0 <= found["metrics"]["test_accuracy"] <= 1
        names, shared = chosen.supernet_name(only, evaluator.task), weights_of(evaluator)
        for name, weight in evaluator.stand_alone(only).named_parameters():
            assert torch.equal(weight, shared[f"branches.{drawn}.{names(name)}"])

    @pytest.mark.parametrize("epoch", [1, 2])
    def test_saved_weights_go_on_as_if_they_had_not_been_saved(self, epoch: int, tmp_path: Path) -> None:
        one, space = prepared("nasbench201", *self.WORDS)
        for number in range(1, epoch + 1):
            one.train_shared(space.sample, np.random.default_rng(number), number, 4)
        one.save(tmp_path / "1.safetensors")
        other, _ = prepared("nasbench201", *self.WORDS)
        other.load(tmp_path / "1.safetensors")
        results = [each.train_shared(space.sample, np.random.default_rng(9), epoch + 1, 4) for each in (one, other)]
        assert results[0] == results[1]
        for each, name in ((one, "one"), (other, "other")):
            each.save(tmp_path / f"{name}.safetensors")
        assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()

    def test_dropped_paths_go_to_their_branch(self) -> None:
        evaluator, space = prepared("nasbench201", "evaluator.split=1", "evaluator.drop_path=0.5")
        found = [evaluator.train_shared(space.sample, np.random.default_rng(e), e, 2)["branches"] for e in (1, 2)]
        assert found == [1, 5]

    @pytest.mark.parametrize(
        ("space", "words", "told"),
        [
            ("macro_cnn", ("evaluator.split=1",), "evaluator.split=1: this search space cannot be split"),
            ("nasbench201", ("evaluator.split=7",), "evaluator.split=7: genomes have positions from 1 to 6"),
            (
                "micro_cell",
                ("evaluator.split=1", "evaluator.auxiliary=0.4"),
                "evaluator.split=1: goes without a second",
            ),
        ],
    )
    def test_where_it_makes_no_sense_it_is_refused(self, space: str, words: tuple[str, ...], told: str) -> None:
        with pytest.raises(ConfigError, match="split") as raised:
            prepared(space, *words)
        assert str(raised.value).startswith(told)
