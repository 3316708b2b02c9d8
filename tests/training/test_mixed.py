"""Steps of architecture weights: their gradients against finite differences, and against the exact ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from nasrun.evaluators.differentiable.base import Differentiable
from nasrun.spaces.mixture import Mixture
from nasrun.training.data import DeviceData
from nasrun.training.supernet import mixed
from nasrun.training.supernet.architecture import ArchitectureWeights
from nasrun.training.supernet.mixed import MixedParts, MixedTrainer
from tests.evaluators.conftest import RUNTIME
from tests.support import FOUR_CLASSES, setup_of

SMALL = (
    "evaluator=darts",
    "search_space=nasbench201",
    "search_space.channels=2",
    "search_space.cells=1",
    "evaluator.batch_size=16",
    *FOUR_CLASSES,
)


def trainer_of(*words: str) -> MixedTrainer:
    """A trainer in float64 whose architecture weights and momentum are as after some training, so that they count."""
    setup = setup_of(*SMALL, *words)
    evaluator, space = setup.evaluator, setup.space
    assert isinstance(evaluator, Differentiable)
    evaluator.prepare()
    generator = torch.Generator().manual_seed(5)
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        model = space.relaxed(evaluator.task, 1).double()
    weights = ArchitectureWeights(space.positions(), evaluator.settings, generator).double()
    with torch.no_grad():
        for logits in weights.parameters():
            logits.copy_(torch.randn(logits.shape, generator=generator))
    trainer = MixedTrainer(
        model,
        weights,
        lambda: Mixture.weighted(weights.positions, weights.probabilities()),
        DeviceData(setup.dataset.load(), "cpu"),
        MixedParts(evaluator.parts["trained"], evaluator.parts["judged"]),
        evaluator.settings,
        RUNTIME,
        affine=False,
    )
    assert trainer.momentum
    for buffer in trainer.momentum.values():
        buffer.normal_(0, 0.05, generator=generator)
    return trainer


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(8, 1, 8, 8, generator=generator, dtype=torch.float64), torch.arange(8) % 4


def flat(gradients: Sequence[Tensor | None]) -> Tensor:
    assert all(gradient is not None for gradient in gradients)
    return torch.cat([gradient for gradient in gradients if gradient is not None])


def test_the_first_order_is_the_gradient_by_finite_differences() -> None:
    trainer = trainer_of()
    loss, gradients = trainer.gradient(batch(1))
    assert loss.item() == pytest.approx(trainer.loss(batch(1)).item())
    step = 1e-5
    for logits, gradient in zip(trainer.architecture.parameters(), gradients, strict=True):
        assert gradient is not None
        for place in range(len(logits)):
            ends = []
            for change in (step, -step):
                with torch.no_grad():
                    logits[place] += change
                    ends.append(trainer.loss(batch(1)).item())
                    logits[place] -= change
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(gradient[place].item(), rel=1e-4, abs=1e-9)


Weights = dict[str, Tensor]


def weights_of(trainer: MixedTrainer) -> Weights:
    """The shared weights that learn, by name."""
    return {name: weight for name, weight in trainer.model.named_parameters() if weight.requires_grad}


def loss_with(trainer: MixedTrainer, weights: Weights, data: Any) -> Tensor:
    """The loss of a batch with other shared weights."""
    mixture = Mixture.weighted(trainer.architecture.positions, trainer.architecture.probabilities())
    return functional.cross_entropy(functional_call(trainer.model, weights, (data[0], mixture)), data[1])


def after_a_step(trainer: MixedTrainer, train: Any, rate: float) -> Weights:
    """The shared weights after one step of SGD with momentum, as functions of the architecture weights."""
    weights = weights_of(trainer)
    loss = loss_with(trainer, weights, train)
    gradients = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    moved = {}
    for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
        decay = trainer.settings.weight_decay if weight.ndim > 1 else 0.0
        momentum = trainer.settings.momentum * trainer.momentum[name]
        moved[name] = weight - rate * (gradient + decay * weight + momentum)
    return moved


def test_the_second_order_is_the_gradient_through_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    # So near that no relu of this network of two channels changes its sign, which the exact gradient does not see.
    monkeypatch.setattr(mixed, "PERTURBATION", 1e-5)
    trainer = trainer_of("evaluator.second_order=true")
    train, judge, rate = batch(1), batch(2), 0.2
    weights, own = weights_of(trainer), list(trainer.architecture.parameters())
    before = {name: weight.detach().clone() for name, weight in weights.items()}
    _, gradients = trainer.unrolled_gradient(train, judge, rate)
    for name, weight in weights.items():
        assert torch.equal(weight, before[name]), "the shared weights are as they were"
        assert weight.grad is None
    moved = after_a_step(trainer, train, rate)
    found, expected = flat(gradients), flat(torch.autograd.grad(loss_with(trainer, moved, judge), own))
    assert (found - expected).norm() < 1e-6 * expected.norm()
    # What the second derivative adds is there, and right: not only the gradient at the weights after the step.
    there = {name: weight.detach() for name, weight in moved.items()}
    direct = flat(torch.autograd.grad(loss_with(trainer, there, judge), own))
    added = expected - direct
    assert added.norm() > 0.02 * expected.norm()
    assert (found - direct - added).norm() < 1e-5 * added.norm()


def test_steps_of_architecture_weights_leave_the_shared_weights_alone() -> None:
    trainer = trainer_of()
    shared = {name: weight.detach().clone() for name, weight in trainer.model.named_parameters()}
    own = [logits.detach().clone() for logits in trainer.architecture.parameters()]
    for _ in range(3):
        trainer.learn(batch(1), batch(2), 0.1, second_order=False)
    assert all(torch.equal(weight, shared[name]) for name, weight in trainer.model.named_parameters())
    assert all(weight.grad is None for weight in trainer.model.parameters())
    moved = [(now - was).abs().max().item() for now, was in zip(trainer.architecture.parameters(), own, strict=True)]
    assert min(moved) > 1e-4  # Adam moves by about its learning rate
    assert max(moved) < 1e-2


def test_scales_of_operations_stay_unless_they_are_asked_for() -> None:
    def scales(trainer: MixedTrainer) -> list[Tensor]:
        model: Any = trainer.model
        modules = [module for candidate in model.candidates() for module in candidate.modules()]
        return [module.weight for module in modules if isinstance(module, torch.nn.BatchNorm2d)]

    for words, same in (((), True), (("evaluator.affine=true",), False)):
        evaluator: Any = setup_of(*SMALL, *words).evaluator
        evaluator.prepare()
        evaluator.train_shared(lambda rng: (), np.random.default_rng(0), 1, 2)
        found = scales(evaluator.trainer)
        assert found
        assert all(torch.equal(weight, torch.ones_like(weight)) for weight in found) is same


def test_saved_weights_go_on_as_if_they_had_not_been_saved(tmp_path: Path) -> None:
    evaluators: list[Any] = [setup_of(*SMALL).evaluator for _ in range(2)]
    for evaluator in evaluators:
        evaluator.prepare()
    evaluators[0].train_shared(lambda rng: (), np.random.default_rng(1), 1, 3)
    evaluators[0].save(tmp_path / "1.safetensors")
    evaluators[1].load(tmp_path / "1.safetensors")
    results = [each.train_shared(lambda rng: (), np.random.default_rng(2), 2, 3) for each in evaluators]
    assert results[0] == results[1]
    for number, each in enumerate(evaluators):
        each.save(tmp_path / f"again_{number}.safetensors")
    assert (tmp_path / "again_0.safetensors").read_bytes() == (tmp_path / "again_1.safetensors").read_bytes()
