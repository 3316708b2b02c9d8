"""Shared weights: one network of all architectures, trained and scored one architecture at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasrun.core import Genome, Job, Proposal, Task, Trial, seeding
from nasrun.core.options import ConfigError
from nasrun.evaluators.supernet import Supernet
from nasrun.spaces.elastic import part_of
from nasrun.spaces.nasbench201.encoding import OPERATIONS
from nasrun.training.data import DeviceData, DeviceSplit
from nasrun.training.supernet.image_sizes import padded
from nasrun.training.supernet.settings import SharedSettings
from nasrun.training.supernet.trainer import SharedTrainer
from tests.evaluators.conftest import RUNTIME
from tests.support import FOUR_CLASSES, setup_of

SPACES = {
    "micro_cell": ("search_space.blocks=2", "search_space.layout=cr", "search_space.channels=4"),
    "nasbench201": ("search_space.channels=4", "search_space.cells=1"),
    "macro_cnn": ("search_space.depths=[2,3]", "search_space.channels=[4,8]", "search_space.max_pools=1"),
    "staged_cnn": ("search_space.max_stages=2", "search_space.max_repeats=2", "search_space.max_width=12"),
}
SMALL = (
    "evaluator=supernet",
    "evaluator.batch_size=32",
    "evaluator.score_batch=16",
    *FOUR_CLASSES,
)

spaces = pytest.mark.parametrize("space", SPACES)


def prepared(space: str, *overrides: str) -> tuple[Supernet, Any]:
    setup = setup_of(*SMALL, f"search_space={space}", *SPACES[space], *overrides)
    assert isinstance(setup.evaluator, Supernet)
    setup.evaluator.prepare()
    return setup.evaluator, setup.space


def job(genome: Genome, number: int = 0) -> Job:
    return Job(Trial(number, Proposal(genome)), 0, seeding.integer(3, seeding.Purpose.JOB, number))


def weights_of(evaluator: Supernet) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in evaluator.trainer.model.named_parameters()}


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
                weight.copy_(part_of(weights[name_of(name)], weight.shape))
        # Shared networks normalise by the batch in evaluation, too.
        torch.testing.assert_close(shared(images, genome), alone(images), rtol=0, atol=0)


@spaces
def test_a_step_changes_the_sampled_path_alone(space: str) -> None:
    evaluator, chosen = prepared(space)
    trainer = evaluator.trainer
    rng = np.random.default_rng(0)
    images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 4
    for _ in range(4):  # the momentum of those before must not move anything either
        genome = chosen.sample(rng)
        before = weights_of(evaluator)
        trainer.step(images, labels, [genome], 0.05)
        name_of = chosen.supernet_name(genome, evaluator.task)
        path = {name_of(name) for name, _ in chosen.build(genome, evaluator.task).named_parameters()}
        changed = {name for name, weight in weights_of(evaluator).items() if not torch.equal(weight, before[name])}
        assert changed <= path
        assert name_of("output.weight") in changed
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
    parts = evaluator.parts
    assert len(parts["scored"]) == 56
    assert len(parts["held_out"]) == 24
    images = [image.tobytes() for name in parts for image in parts[name].images.numpy()]
    assert len(set(images)) == len(images) == 120 + 80 + 40
    assert evaluator.trainer.steps == 4  # 120 images in batches of 32: the last is filled up


def test_scores_are_of_a_batch_by_the_seed_or_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = set()
    score = SharedTrainer.score

    def watched(trainer: SharedTrainer, genome: Genome, split: DeviceSplit, batch_size: int) -> Any:
        sizes.add(len(split))
        return score(trainer, genome, split, batch_size)

    monkeypatch.setattr(SharedTrainer, "score", watched)
    evaluator, space = prepared("micro_cell")
    genome = space.sample(np.random.default_rng(0))
    jobs = [job(genome, number) for number in range(6)]
    found = [m.metrics["val_loss"] for m in evaluator.evaluate(jobs)]
    assert len(set(found)) == 6
    assert [m.metrics["val_loss"] for m in evaluator.evaluate(jobs)] == found
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
    model = chosen.build(genome, evaluator.task)
    model.load_state_dict(load_weights(path))
    again = evaluator.trainer.measure(model, evaluator.parts["test"])
    assert result["metrics"]["test_accuracy"] == again["accuracy"]
    assert {"test_held_out_accuracy", "test_held_out_loss", "test_loss"} < set(result["metrics"])
    shared = evaluator.trainer.score(genome, evaluator.parts["test"], 40)
    assert abs(shared["accuracy"] - again["accuracy"]) < 0.2  # statistics of the batch, and of the training data


def test_batches_have_images_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data may lie class by class, as those of folders do: statistics of a batch would be those of a class or two."""
    evaluator, space = prepared("nasbench201")
    genome = space.sample(np.random.default_rng(0))
    by_class = [part.some(torch.argsort(part.labels)) for part in (evaluator.parts["train"], evaluator.parts["scored"])]
    data = DeviceData(setup_of(*SMALL, "search_space=nasbench201").dataset.load(), "cpu")
    trainer = SharedTrainer(space.supernet(evaluator.task), data, by_class[0], evaluator.settings, RUNTIME)
    seen: list[list[int]] = []
    inputs = SharedTrainer.inputs

    def watched(one: SharedTrainer, split: Any, index: torch.Tensor, augment: Any = None) -> Any:
        found = inputs(one, split, index, augment)
        seen.append(found[1].tolist())
        return found

    monkeypatch.setattr(SharedTrainer, "inputs", watched)
    for split in by_class:
        assert set(split.labels[:16].tolist()) != {0, 1, 2, 3}
        trainer.score(genome, split, 16)
        assert sum(map(len, seen)) == len(split)
        trainer.alone(space.build(genome, evaluator.task), space.supernet_name(genome, evaluator.task), batches=20)
        assert len(seen) >= 5
        assert all(set(labels) == {0, 1, 2, 3} for labels in seen)
        seen.clear()


def test_borders_are_repeated() -> None:
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
            ("search_space=staged_cnn", "search_space.blocks=[bb]"),
            "search_space.max_width=512: the network of all architectures would have 26",
        ),
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
        known = {"nasbench201": "none", "micro_cell": "conv3", "macro_cnn": "pool", "staged_cnn": "bb"}[space]
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
