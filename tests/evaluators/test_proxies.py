"""Evaluator `proxies`: each score against its definition on networks small enough to work it out."""

import json
import math
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nasrun.config.build import Setup
from nasrun.core import Job, Proposal, Trial, seeding
from nasrun.core.options import ConfigError
from nasrun.evaluators.proxies.az_nas import expressivity, progressivity, trainability
from nasrun.evaluators.proxies.evaluator import Proxies
from nasrun.evaluators.proxies.names import Score
from nasrun.evaluators.proxies.passes import Forward, Probe, blocks_of
from nasrun.evaluators.proxies.reference import Reference
from nasrun.evaluators.proxies.scores import SCORES, grad_norm, jacob_cov, naswot, snip, synflow, zico
from tests.support import options, setup_of

SMALL = (
    "evaluator=proxies",
    "dataset.samples=80",
    "dataset.classes=3",
    "dataset.height=8",
    "dataset.width=8",
    "hardware=cpu",
    "hardware.threads=1",
    "evaluator.images=8",
)


def probe_of(model: nn.Module, *, images: int = 6, shape: tuple[int, int, int] = (2, 4, 4), outputs: int = 3) -> Probe:
    """A network with two batches of noise."""
    generator = torch.Generator().manual_seed(3)
    batches = [
        (torch.randn(images, *shape, generator=generator), torch.randint(0, outputs, (images,), generator=generator))
        for _ in range(2)
    ]
    return Probe(model, batches, F.cross_entropy, generator, shape)


def small_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    first = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU())
    return nn.Sequential(first, second, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3))


def test_naswot_counts_the_units_that_agree() -> None:
    probe = probe_of(small_network())
    first = probe.model[0](probe.batches[0][0])  # type: ignore[index]
    codes = np.concatenate([(part > 0).flatten(1).numpy() for part in (first, probe.model[1](first))], axis=1)  # type: ignore[index]
    kernel = np.array([[float((one == other).sum()) for other in codes] for one in codes])
    assert naswot(probe) == pytest.approx(np.linalg.slogdet(kernel)[1], rel=1e-9)


def test_naswot_of_images_that_all_look_alike_is_finite_and_low() -> None:
    probe = probe_of(small_network())
    probe.batches = [(images[:1].repeat(6, 1, 1, 1), answers) for images, answers in probe.batches]
    assert math.isfinite(naswot(probe))
    assert naswot(probe) < naswot(probe_of(small_network()))


def test_what_leads_to_no_output_does_not_count() -> None:
    class WithLooseEnd(nn.Module):
        def __init__(self, loose: bool) -> None:
            super().__init__()
            self.network, self.loose = small_network(), loose

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if self.loose:
                F.relu(images - 1)
            return self.network(images)

    assert naswot(probe_of(WithLooseEnd(loose=True))) == naswot(probe_of(WithLooseEnd(loose=False)))


@pytest.mark.parametrize(
    "module",
    [
        *(nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.LeakyReLU(), nn.ELU(), nn.SiLU(), nn.GELU()),
        *(nn.Hardswish(), nn.Sigmoid(), nn.Tanh()),
    ],
    ids=str,
)
def test_every_activation_of_the_spaces_is_seen(module: nn.Module) -> None:
    torch.manual_seed(0)
    images = torch.randn(4, 2, 4, 4)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), module, nn.Flatten(), nn.Linear(48, 2))
    [code] = Forward(model, images).codes
    assert torch.equal(code, (model[0](images) > 0).flatten(1))


def test_jacob_cov_is_of_the_eigenvalues_of_the_correlations() -> None:
    probe = probe_of(small_network())
    images = probe.batches[0][0].clone().requires_grad_()
    probe.model(images).sum().backward()
    assert images.grad is not None
    values = np.linalg.eigvalsh(np.corrcoef(images.grad.flatten(1).double().numpy())) + 1e-5
    assert jacob_cov(probe) == pytest.approx(-float((np.log(values) + 1 / values).sum()), rel=1e-3)


def test_jacob_cov_of_outputs_that_depend_on_no_image_is_finite() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.output = nn.Linear(32, 3)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.output(torch.zeros_like(images).flatten(1))

    found = jacob_cov(probe_of(Deaf()))
    assert math.isfinite(found)
    assert found < jacob_cov(probe_of(small_network()))


def test_snip_and_grad_norm_are_of_the_gradients_of_the_loss() -> None:
    probe = probe_of(small_network())
    images, labels = probe.batches[0]
    F.cross_entropy(probe.model(images), labels).backward()
    weights = [weight for weight in probe.model.parameters() if weight.ndim > 1]
    products = sum(float((weight.detach() * weight.grad).abs().sum()) for weight in weights)
    assert len(weights) == 3
    assert snip(probe) == pytest.approx(products, rel=1e-5)
    assert grad_norm(probe) == pytest.approx(sum(float(weight.grad.norm()) for weight in weights), rel=1e-5)


def test_synflow_of_a_chain_is_the_sum_of_its_paths() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, -4.0]]))
        model[3].weight.copy_(torch.tensor([[-1.0, 5.0]]))
    probe = probe_of(model, shape=(2, 1, 1), outputs=1)
    # Paths: 1 (1 + 2) + 5 (3 + 4) = 38, each counted once a layer.
    assert synflow(probe) == pytest.approx(math.log1p(2 * 38))
    assert torch.equal(model[3].weight, torch.tensor([[-1.0, 5.0]]))  # the network is as it was


def test_zico_compares_two_batches() -> None:
    probe = probe_of(small_network())
    found = []
    for images, labels in probe.batches:
        probe.model.zero_grad()
        F.cross_entropy(probe.model(images), labels).backward()
        found.append([weight.grad.double().numpy().copy() for weight in probe.model.parameters() if weight.ndim > 1])
    expected = 0.0
    for pair in zip(*found, strict=True):
        deviation, mean = np.std(pair, axis=0), np.mean(np.abs(pair), axis=0)
        expected += math.log((mean[deviation > 0] / deviation[deviation > 0]).sum())
    assert zico(probe) == pytest.approx(expected, rel=1e-4)


def test_the_scores_of_az_nas_look_at_the_blocks() -> None:
    probe = probe_of(small_network())
    assert [part is probe.model[place] for place, part in enumerate(blocks_of(probe.model))] == [True, True]  # type: ignore[index]
    entropies = []
    for features in probe.forward.features:
        rows = features.detach().double().movedim(1, -1).flatten(0, -2).numpy()
        shares = np.linalg.eigvalsh(np.cov(rows.T, bias=True)).clip(0)
        shares = shares / shares.sum()
        entropies.append(-float((shares * np.log(shares + 1e-8)).sum()))
    assert expressivity(probe) == pytest.approx(sum(entropies), rel=1e-4)
    assert progressivity(probe) == pytest.approx(entropies[1] - entropies[0], rel=1e-3)
    assert -1e6 < trainability(probe) <= 0


def test_a_block_that_changes_nothing_cannot_be_trained() -> None:
    class Kept(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(4)  # a part that is not used, as that of a cell of skip connections

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features * 1

    network = small_network()
    network.insert(1, nn.Sequential(Kept()))
    assert trainability(probe_of(network)) < -1e5


def test_ranks_rise_everywhere() -> None:
    reference = Reference({"naswot": [3.0, 1.0, 2.0, 2.0], "synflow": [5.0, 5.0, 5.0, 5.0]})
    shares = [reference.rank("naswot", value) for value in (-1e9, -5, 1, 1.5, 2, 2.5, 3, 10, 1e9)]
    assert shares == sorted(set(shares))
    assert shares[0] > 0
    assert shares[-1] < 1
    assert reference.rank("naswot", 1) == pytest.approx(1 / 5)
    assert reference.rank("naswot", 2) == pytest.approx(2.5 / 5)
    assert reference.rank("synflow", 4) < reference.rank("synflow", 5) < reference.rank("synflow", 6)
    both = reference.rank_sum({"naswot": 2.0, "synflow": 5.0}, ["naswot", "synflow"])
    assert both == pytest.approx(0.5)


def prepared(*words: str) -> Setup:
    setup = setup_of(*SMALL, *words)
    setup.evaluator.prepare()
    return setup


def jobs_of(setup: Setup, count: int) -> list[Job]:
    rng = np.random.default_rng(5)
    return [
        Job(Trial(number, Proposal(setup.space.sample(rng))), 0, seeding.integer(1, seeding.Purpose.JOB, number))
        for number in range(count)
    ]


SPACES: dict[str, tuple[str, ...]] = {
    "nasbench201": ("search_space.channels=4", "search_space.cells=1"),
    "nasbench101": ("search_space.vertices=5",),
    "micro_cell": ("search_space.blocks=2", "search_space.layout=cr", "search_space.channels=4"),
    "nasnet": ("search_space.blocks=2", "search_space.layout=cr", "search_space.channels=4"),
}


@pytest.mark.parametrize("space", [name for name in options("search_space") if name != "training_recipe"])
def test_all_scores_on_every_space_that_builds_networks(space: str) -> None:
    names = ",".join(get_args(Score))
    setup = prepared(
        f"search_space={space}", *SPACES.get(space, ()), f"evaluator.scores=[{names}]", "evaluator.reference=3"
    )
    found = list(setup.evaluator.evaluate(jobs_of(setup, 2)))
    for measurement in found:
        assert measurement.status == "ok", measurement.error
        assert set(measurement.metrics) == set(get_args(Score))
    assert any(found[0].metrics[name] != found[1].metrics[name] for name in SCORES)


@pytest.mark.parametrize("operation", ["none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1"])
def test_all_scores_of_degenerate_cells(operation: str) -> None:
    names = ",".join(get_args(Score))
    words = ("search_space=nasbench201", *SPACES["nasbench201"], "evaluator.reference=2")
    setup = prepared(*words, f"evaluator.scores=[{names}]")
    for genome in ((operation,) * 6, ("none",) * 5 + (operation,)):
        [measurement] = setup.evaluator.evaluate([Job(Trial(0, Proposal(genome)), 0, 1)])
        assert measurement.error is None
        assert set(measurement.metrics) == set(get_args(Score))


def test_a_space_of_one_network_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^search_space=TrainingRecipe: all its genomes are one network"):
        setup_of(*SMALL[:1], "search_space=training_recipe")


def test_an_objective_has_its_score_computed() -> None:
    setup = prepared("objective=[zico,parameters]", "objective.mode=[max,min]")
    assert [one.metric for one in setup.objective.all] == ["zico", "parameters"]
    [measurement] = setup.evaluator.evaluate(jobs_of(setup, 1))
    assert {"naswot", "zico", "parameters", "flops"} == set(measurement.metrics)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("evaluator.scores=[naswit]",), "evaluator.scores=[naswit]: unknown; did you mean 'naswot'?"),
        (("evaluator.scores=[]",), "evaluator.scores=[]: must not be empty"),
        (("objective=nasw",), "objective.metric=nasw: not reported by this evaluator; did you mean 'naswot'?"),
        (("strategy=asha",), None),
    ],
)
def test_mistakes_are_said_in_a_line(words: tuple[str, ...], text: str | None) -> None:
    with pytest.raises(ConfigError) as error:
        setup_of(*SMALL, *words)
    assert len(str(error.value).splitlines()) == 1
    assert text is None or str(error.value) == text


def test_ranks_are_those_of_the_record() -> None:
    """A resumed run, and each worker, ranks by what was scored when the run began."""
    first = setup_of(*SMALL, "objective=rank_sum", "evaluator.reference=4")
    facts = json.loads(json.dumps(first.evaluator.prepare()))
    jobs = jobs_of(first, 3)
    values = [measurement.metrics for measurement in first.evaluator.evaluate(jobs)]
    other = setup_of(*SMALL, "objective=rank_sum", "evaluator.reference=4")
    assert other.evaluator.prepare(facts) == facts
    assert isinstance(other.evaluator, Proxies)
    assert [measurement.metrics for measurement in other.evaluator.evaluate(jobs[::-1])] == values[::-1]


def test_threads_change_no_bit() -> None:
    setup = prepared("evaluator.scores=[naswot,jacob_cov,synflow,snip,zico,trainability]")
    jobs = jobs_of(setup, 2)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append([measurement.metrics for measurement in setup.evaluator.evaluate(jobs)])
        assert torch.get_num_threads() == threads
    assert found[0] == found[1]


def test_workers_and_a_resumed_run_come_to_the_same(nasrun_inprocess: Callable[[str], Any], tmp_path: Any) -> None:
    words = " ".join(
        (*SMALL[:-2], "dataset=synthetic", "evaluator.images=8", "objective=rank_sum", "evaluator.reference=3")
    )
    words += " search_space=sequential_cnn recipe=plain strategy=aging_evolution trials=6 hardware.threads=1"
    words += " hardware.in_flight=2 output.console=none"
    for workers in (1, 2):
        done = nasrun_inprocess(f"{words} hardware.workers={workers} hydra.run.dir=w{workers}")
        assert (done.returncode, done.stderr) == (0, "")
    done = nasrun_inprocess(f"{words} trials=3 hydra.run.dir=part")
    assert done.returncode == 0
    done = nasrun_inprocess("resume part trials=6")
    assert done.returncode == 0
    tables = [np.genfromtxt(tmp_path / name / "trials.csv", delimiter=",", names=True) for name in ("w1", "w2", "part")]
    for table in tables[1:]:
        assert np.array_equal(table["rank_sum"], tables[0]["rank_sum"])
    assert len(tables[0]) == 6
