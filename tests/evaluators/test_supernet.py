"""Shared weights: one network of all architectures, trained and scored one architecture at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasrun.core import Genome, Job, Proposal, Task, Trial, seeding
from nasrun.core.options import ConfigError
from nasrun.evaluators.supernet import Supernet
from nasrun.spaces.nasbench201.encoding import OPERATIONS
from nasrun.training.supernet.image_sizes import padded, shrunk
from nasrun.training.supernet.settings import SharedSettings
from nasrun.training.supernet.trainer import SharedTrainer
from tests.support import setup_of

SPACES = {
    "micro_cell": ("search_space.blocks=2", "search_space.layout=cr", "search_space.channels=4"),
    "nasbench201": ("search_space.channels=4", "search_space.cells=1"),
    "macro_cnn": ("search_space.depths=[2,3]", "search_space.channels=[4,8]", "search_space.max_pools=1"),
}
SMALL = (
    "evaluator=supernet",
    "evaluator.batch_size=32",
    "evaluator.pad_to=null",
    "evaluator.score_batch=16",
    "dataset=synthetic",
    "dataset.samples=200",
    "dataset.classes=4",
    "dataset.height=8",
    "dataset.width=8",
    "dataset.validation=0.4",
    "hardware=cpu",
    "hardware.threads=1",
    "hardware.precision=fp32",
)

spaces = pytest.mark.parametrize("space", SPACES)


@pytest.fixture(autouse=True)
def _threads_as_before() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def prepared(space: str, *overrides: str) -> tuple[Supernet, Any]:
    setup = setup_of(*SMALL, f"search_space={space}", *SPACES[space], *overrides)
    assert isinstance(setup.evaluator, Supernet)
    setup.evaluator.prepare()
    return setup.evaluator, setup.space


def job(genome: Genome, number: int = 0) -> Job:
    return Job(Trial(number, Proposal(genome)), 0, seeding.integer(3, seeding.Purpose.JOB, number))


def weights_of(evaluator: Supernet) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in evaluator._ready.model.named_parameters()}


@spaces
def test_an_architecture_is_a_part_of_the_shared_network(space: str) -> None:
    chosen = setup_of(f"search_space={space}", *SPACES[space]).space
    task = Task("colour", 3, 9, 8, 5)
    torch.manual_seed(1)
    shared = chosen.supernet(task).eval()
    weights = dict(shared.named_parameters())
    images = torch.rand(6, 3, 9, 8)
    rng = np.random.default_rng(2)
    for _ in range(6):
        genome = chosen.sample(rng)
        alone = chosen.build(genome, task).train()
        name_of = chosen.supernet_name(genome, task)
        with torch.no_grad():
            for name, weight in alone.named_parameters():
                weight.copy_(weights[name_of(name)])
        # Shared networks normalise by the batch in evaluation, too.
        torch.testing.assert_close(shared(images, genome), alone(images), rtol=0, atol=0)


@spaces
def test_a_step_changes_the_sampled_path_alone(space: str) -> None:
    evaluator, chosen = prepared(space)
    trainer = evaluator._ready
    rng = np.random.default_rng(0)
    images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
    for _ in range(4):  # the momentum of those before must not move anything either
        genome = chosen.sample(rng)
        before = weights_of(evaluator)
        trainer.step(images, labels, [genome], 0.05)
        name_of = chosen.supernet_name(genome, evaluator._task)
        path = {name_of(name) for name, _ in chosen.build(genome, evaluator._task).named_parameters()}
        changed = {name for name, weight in weights_of(evaluator).items() if not torch.equal(weight, before[name])}
        assert changed <= path
        assert "output.weight" in changed
        assert all(weight.grad is None for weight in trainer.model.parameters())


@spaces
def test_training_helps(space: str) -> None:
    evaluator, chosen = prepared(space, "evaluator.score=whole", "evaluator.batch_size=8", "dataset.noise=0.05")
    genomes = [chosen.sample(np.random.default_rng(seed)) for seed in range(12)]

    def mean() -> float:
        measurements = evaluator.evaluate([job(genome, n) for n, genome in enumerate(genomes)])
        return float(np.mean([m.metrics["val_accuracy"] for m in measurements]))

    before = mean()
    for epoch in range(1, 9):
        metrics = evaluator.train_shared(chosen.sample, np.random.default_rng(epoch), epoch, 8)
        assert set(metrics) == {"train_loss", "train_accuracy", "lr", "held_out_accuracy"}
    after = mean()
    assert before < 0.4
    assert after > before + 0.2


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_saved_weights_go_on_as_if_they_had_not_been_saved(tmp_path: Path, momentum: float) -> None:
    words = ("evaluator.lr=0.1", f"evaluator.momentum={momentum}")
    one, space = prepared("micro_cell", *words)
    one.train_shared(space.sample, np.random.default_rng(1), 1, 3)
    one.save(tmp_path / "1.safetensors")
    other, _ = prepared("micro_cell", *words)
    other.load(tmp_path / "1.safetensors")
    results = [each.train_shared(space.sample, np.random.default_rng(2), 2, 3) for each in (one, other)]
    assert results[0] == results[1]
    for each, name in ((one, "one"), (other, "other")):
        each.save(tmp_path / f"{name}.safetensors")
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "other.safetensors").read_bytes()


def test_the_epoch_follows_from_its_generator() -> None:
    results = []
    for seed in (1, 1, 2):
        evaluator, space = prepared("micro_cell", "evaluator.shift=1", "evaluator.flip=true")
        evaluator.train_shared(space.sample, np.random.default_rng(seed), 1, 2)
        results.append(weights_of(evaluator)["stem.weight"])
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_no_part_of_the_data_is_seen_twice() -> None:
    evaluator, _ = prepared("micro_cell")
    data = evaluator._data
    assert data is not None
    parts = evaluator._parts
    assert len(parts["scored"]) == 56
    assert len(parts["held_out"]) == 24
    images = [image.tobytes() for name in parts for image in parts[name].images.numpy()]
    assert len(set(images)) == len(images) == 120 + 80 + 40
    assert evaluator._ready.steps == 4  # 120 images in batches of 32: the last is filled up


def test_scores_are_of_a_batch_by_the_seed_or_of_all() -> None:
    evaluator, space = prepared("micro_cell")
    genome = space.sample(np.random.default_rng(0))
    jobs = [job(genome, number) for number in range(6)]
    found = [m.metrics["val_loss"] for m in evaluator.evaluate(jobs)]
    assert len(set(found)) == 6
    assert [m.metrics["val_loss"] for m in evaluator.evaluate(jobs)] == found
    sizes = {len(evaluator._scored(one)) for one in jobs}
    assert sizes == {16}
    whole, _ = prepared("micro_cell", "evaluator.score=whole")
    assert len({m.metrics["val_loss"] for m in whole.evaluate(jobs)}) == 1


@spaces
def test_the_winner_is_a_network_of_its_own(space: str, tmp_path: Path) -> None:
    from nasrun.checkpoints.store import load_weights

    evaluator, chosen = prepared(space, "evaluator.batch_size=8")
    for epoch in range(1, 6):
        evaluator.train_shared(chosen.sample, np.random.default_rng(epoch), epoch, 5)
    genome = chosen.sample(np.random.default_rng(5))
    path = tmp_path / "model.safetensors"
    result = evaluator.final(job(genome)._replace(save_to=str(path)))
    model = chosen.build(genome, evaluator._task)
    model.load_state_dict(load_weights(path))
    again = evaluator._ready.measure(model, evaluator._parts["test"])
    assert result["metrics"]["test_accuracy"] == again["accuracy"]
    assert {"test_held_out_accuracy", "test_held_out_loss", "test_loss"} < set(result["metrics"])
    shared = evaluator._ready.score(genome, evaluator._parts["test"], 40)
    assert abs(shared["accuracy"] - again["accuracy"]) < 0.2  # statistics of the batch, and of the training data


def test_borders_are_repeated() -> None:
    from nasrun.training.data import DeviceSplit

    split = DeviceSplit(torch.arange(12, dtype=torch.uint8).view(1, 1, 3, 4), torch.zeros(1, dtype=torch.long))
    images = padded(split, 6).images
    assert images.shape == (1, 1, 6, 6)
    expected = torch.nn.functional.pad(split.images.float(), (1, 1, 1, 2), mode="replicate")
    assert torch.equal(images.float(), expected)
    assert padded(split, 3).images.shape == (1, 1, 3, 4)
    assert padded(split, None).images is split.images


def test_the_learning_rate_falls_and_may_begin_anew() -> None:
    once = SharedSettings(lr=0.1, lr_min=0.01)
    rates = [once.rate(step, 5, 4) for step in range(30)]
    assert rates[0] == 0.1
    assert rates == sorted(rates, reverse=True)
    assert rates[20] == pytest.approx(0.01)
    assert rates[29] == pytest.approx(0.01)  # behind the end, where a run was extended
    again = SharedSettings(lr=0.1, lr_min=0.01, cycle=2)
    rates = [again.rate(step, 5, 4) for step in range(40)]
    assert [step for step in range(1, 40) if rates[step] > rates[step - 1]] == [10, 30]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("search_space=sequential_cnn",),
            "search_space=SequentialCNN: has no supernet, which evaluator=supernet trains; choose search_space=",
        ),
        (
            ("search_space=micro_cell", "hardware.workers=2"),
            "hardware.workers=2: evaluator=supernet trains in one process; use hardware.workers=1",
        ),
        (("search_space=micro_cell", "evaluator.lr_min=1"), "evaluator.lr_min=1.0: must be at most lr, 0.05"),
        (("search_space=micro_cell", "evaluator.held_out=0"), "evaluator.held_out=0: must be from 0.01 to 0.9"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(words: tuple[str, ...], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        setup_of("evaluator=supernet", *words)
    assert str(caught.value).startswith(text)
    assert "\n" not in str(caught.value)


def test_duplicates_are_scored_again() -> None:
    setup = setup_of(*SMALL, "search_space=nasbench201", "strategy=random")
    assert setup.options.deduplicate == "never"
    assert setup_of("search_space=nasbench201", "strategy=random").options.deduplicate == "reuse"


def groups_of(evaluator: Supernet, policy: Any, monkeypatch: pytest.MonkeyPatch, epoch: int = 1) -> list[list[Genome]]:
    """The architectures of each batch of one epoch of three."""
    seen: list[list[Genome]] = []
    step = SharedTrainer.step

    def watched(trainer: SharedTrainer, images: Any, labels: Any, group: Any, rate: float) -> torch.Tensor:
        seen.append(list(group))
        return step(trainer, images, labels, group, rate)

    monkeypatch.setattr(SharedTrainer, "step", watched)
    evaluator.train_shared(policy, np.random.default_rng(0), epoch, 3)
    return seen


class TestOperationWeights:
    """Which architectures the weights are trained on."""

    WEIGHTS = "{none:0,skip_connect:1,nor_conv_1x1:2,nor_conv_3x3:4,avg_pool_3x3:1}"

    @staticmethod
    def drawn(evaluator: Supernet, policy: Any, monkeypatch: pytest.MonkeyPatch) -> list[Genome]:
        """The architectures of one epoch."""
        return [genome for group in groups_of(evaluator, policy, monkeypatch) for genome in group]

    def test_operations_are_drawn_in_proportion(self) -> None:
        evaluator, space = prepared("nasbench201", f"evaluator.operation_weights={self.WEIGHTS}")
        rng = np.random.default_rng(1)
        genomes = [evaluator.sample(rng) or () for _ in range(500)]
        for genome in genomes[:20]:
            space.validate(genome)
        tokens = [token for genome in genomes for token in genome]
        shares = [tokens.count(name) / len(tokens) for name in OPERATIONS]
        assert shares == pytest.approx([0, 1 / 8, 2 / 8, 4 / 8, 1 / 8], abs=0.03)
        assert shares[0] == 0

    @spaces
    def test_draws_belong_to_the_space(self, space: str) -> None:
        known = {"nasbench201": "none", "micro_cell": "conv3", "macro_cnn": "pool"}[space]
        evaluator, chosen = prepared(space, f"evaluator.operation_weights={{{known}:3}}")
        rng = np.random.default_rng(1)
        for _ in range(50):
            genome = evaluator.sample(rng)
            assert genome is not None
            chosen.validate(genome)

    def test_given_weights_take_the_place_of_the_policy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        evaluator, _ = prepared("nasbench201", f"evaluator.operation_weights={self.WEIGHTS}")
        seen = self.drawn(evaluator, lambda rng: ("none",) * 6, monkeypatch)
        assert seen
        assert all("none" not in genome for genome in seen)

    @pytest.mark.parametrize("words", [(), ("evaluator.operation_weights=null",)])
    def test_a_policy_is_kept_without_them(self, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
        evaluator, _ = prepared("nasbench201", *words)
        policy = ("skip_connect",) * 6
        assert set(self.drawn(evaluator, lambda rng: policy, monkeypatch)) == {policy}

    def test_auto_is_what_the_space_says(self) -> None:
        evaluator, space = prepared("nasbench201")
        rng = np.random.default_rng(1)
        tokens = [token for _ in range(500) for token in evaluator.sample(rng) or ()]
        for name, weight in space.operation_weights.items():
            assert tokens.count(name) / len(tokens) == pytest.approx(weight, abs=0.03)
        assert prepared("micro_cell")[0].sample(rng) is None
        assert prepared("nasbench201", "evaluator.operation_weights=null")[0].sample(rng) is None

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("{conv9:1}", "evaluator.operation_weights.conv9: no operation of this space; "),
            ("{none:-1}", "evaluator.operation_weights={none:-1}: "),
            ("{none:0}", "evaluator.operation_weights={none:0.0}: one of them must be above 0"),
            ("often", "evaluator.operation_weights=often: "),
        ],
    )
    def test_mistakes_are_said_in_a_line(self, value: str, text: str) -> None:
        with pytest.raises(ConfigError) as error:
            setup_of(*SMALL, "search_space=nasbench201", f"evaluator.operation_weights={value}")
        assert str(error.value).startswith(text), str(error.value)
        assert len(str(error.value).splitlines()) == 1


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

    @spaces
    def test_a_sandwich_is_the_largest_and_the_smallest_with_others(
        self, space: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        evaluator, chosen = prepared(space, "evaluator.sampling=sandwich")
        groups = groups_of(evaluator, chosen.sample, monkeypatch)
        assert {len(group) for group in groups} == {4}
        [(largest, smallest)] = {(group[0], group[1]) for group in groups}
        flops = [chosen.cost(chosen.sample(np.random.default_rng(n)), evaluator._task).flops for n in range(30)]
        assert chosen.cost(smallest, evaluator._task).flops <= min(flops)
        assert max(flops) <= chosen.cost(largest, evaluator._task).flops
        if space == "nasbench201":
            assert largest == ("nor_conv_3x3",) * 6
        assert len({group[2] for group in groups}) > 1

    @pytest.mark.parametrize("distil", ["none", "inplace"])
    def test_a_group_is_one_step_by_the_sum_of_its_gradients(self, distil: str) -> None:
        words = ("evaluator.momentum=0", "evaluator.clip_norm=null", "evaluator.sampling=sandwich")
        evaluator, space = prepared("nasbench201", *words, f"evaluator.distil={distil}")
        trainer = evaluator._ready
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
        weights = weights_by_cost(space, evaluator._task)
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
    model = evaluator._alone(evaluator._ready, genome)
    again = evaluator._ready.measure(model, evaluator._parts["scored"])
    assert found.metrics["val_loss"] == again["loss"]
    part = evaluator._parts["scored"]
    one = evaluator._ready.measure(model, part.some(torch.arange(1)))
    assert one["loss"] >= 0  # of one image, which no statistics of a batch could be made of
    with torch.no_grad():
        batch = evaluator._ready.score(genome, part, 128)
    assert batch["loss"] != again["loss"]


class TestDroppedPaths:
    """Operations that give nothing for a share of the images, while training."""

    def test_so_large_a_share_is_dropped_and_skip_connections_stay(self) -> None:
        from nasrun.training.supernet.dropping import dropped

        value = torch.ones(4000, 2, 1, 1)
        kept = dropped(value, 0.3, torch.Generator().manual_seed(0))
        assert float((kept == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
        assert kept.max().item() == pytest.approx(1 / 0.7)
        evaluator, _ = prepared("nasbench201", "evaluator.drop_path=0.5")
        skips, convolutions = ("skip_connect",) * 6, ("nor_conv_3x3",) * 6
        model, images = evaluator._ready.model, torch.rand(8, 1, 8, 8)
        for genome, same in ((skips, True), (convolutions, False)):
            draws = evaluator._with_dropped_paths(lambda rng, g=genome: [g], np.random.default_rng(0), 0.5)
            [mixture] = draws(np.random.default_rng(0))
            assert torch.equal(model(images, mixture), model(images, genome)) is same

    def test_it_grows_over_the_epochs_and_is_of_training_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rates = []
        evaluator, space = prepared("nasbench201", "evaluator.drop_path=0.4")
        inner = evaluator._with_dropped_paths

        def watched(draws: Any, rng: Any, rate: float) -> Any:
            rates.append(rate)
            return inner(draws, rng, rate)

        monkeypatch.setattr(evaluator, "_with_dropped_paths", watched)
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
        trainer = evaluator._ready
        assert trainer._auxiliary is not None
        before = {name: weight.detach().clone() for name, weight in trainer._auxiliary.named_parameters()}
        images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
        genome = space.sample(np.random.default_rng(0))
        seen: list[torch.Tensor] = []
        trainer.model.cells[1].register_forward_hook(lambda part, given, output: seen.append(output))  # type: ignore
        trainer.model.train()
        trainer.model(images, genome)
        features = seen[0].detach()
        first = float(torch.nn.functional.cross_entropy(trainer._auxiliary(features), labels))
        told = float(trainer._auxiliary.loss(labels))
        assert told == pytest.approx(0.4 * first, rel=1e-4)
        trainer.step(images, labels, [genome], 0.05)
        assert all(not torch.equal(weight, before[name]) for name, weight in trainer._auxiliary.named_parameters())

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
    data, part = evaluator._data, evaluator._parts["train"]
    assert data is not None
    images = data.normalise(part.images[:5], torch.contiguous_format)
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
        assert {part.shape[1:] for part in evaluator._parts.values()} == {(4, 4)}
        genome = ("nor_conv_3x3",) * 6
        [found] = evaluator.evaluate([job(genome)])
        assert found.metrics["flops"] == space.cost(genome, evaluator._dataset.task).flops
        assert evaluator.final(job(genome)) == {}

    def test_it_is_the_size_behind_the_border(self) -> None:
        evaluator, _ = prepared("nasbench201", "evaluator.pad_to=12", "evaluator.image_size=6")
        assert evaluator._parts["train"].shape[1:] == (6, 6)
