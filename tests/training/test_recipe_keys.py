"""Keys of recipes in training: each does what it says, repeats itself, and goes on as if nothing had interrupted it."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from nasrun.core.options import ConfigError, check_section
from nasrun.hardware.devices import Runtime
from nasrun.training.data import DeviceData
from nasrun.training.loop import make_trainee, train, train_together
from nasrun.training.losses import CrossEntropy
from nasrun.training.micro_batches import parts_of
from nasrun.training.mirrored import MirrorAverage
from nasrun.training.outcomes import Training
from nasrun.training.request import TrainingRequest
from nasrun.training.settings import BY_AUTOGRAD, TrainSettings
from nasrun.training.single import Single, Stepper, measure
from nasrun.training.teacher import Teacher
from tests.training.conftest import cpu, small_data, small_network
from tests.training.test_loop import digest

SGD = {"optimizer": "sgd", "lr": 0.05, "schedule": "linear", "weight_decay": 1e-3}
KEYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "linear": SGD,
    "cutout": {"cutout": 4},
    "first_size": {"first_size": 0.5, **SGD},
    "random_erasing": {"random_erasing": 0.5},
    "mixup": {"mixup": 0.4},
    "cutmix": {"cutmix": 1.0},
    "both": {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1},
    "ema": {"ema": 0.9, **SGD},
    "warm_up": {"warm_up": 0.4, "schedule": "cosine"},
    "test_flip": {"flip": True, "test_flip": True},
    "decay_all": {"decay_all": True, "weight_decay": 0.01},
    "class_weights": {"class_weights": (1.0, 3.0, 1.0, 2.0)},
    "sampling": {"sampling": "balanced"},
    "in_order": {"sampling": "in_order"},
    "extra_metrics": {"extra_metrics": ("auc", "macro_f1", "balanced_accuracy")},
    "micro_batch": {"micro_batch": 9, "mixup": 0.4, "ema": 0.9, "class_weights": (1.0, 2.0, 1.0, 1.0)},
    "everything": {"shift": 1, "flip": True, "cutout": 3, "random_erasing": 0.2, "mixup": 0.2, "cutmix": 1.0}
    | {"ema": 0.95, "test_flip": True, "clip_norm": 1.0, **SGD},
}


def network() -> nn.Sequential:
    """The same weights each time; with dropout, whose masks come from torch's global generator."""
    with torch.random.fork_rng([]):
        torch.manual_seed(7)
        model = small_network()
        model.insert(6, nn.Dropout(0.1))
    return model


def trained(
    data: DeviceData, options: dict[str, Any], runtime: Runtime | None = None, **named: Any
) -> tuple[Training, nn.Module]:
    settings = TrainSettings(**{"epochs": 3, "schedule_epochs": 3, "batch_size": 32, **options})
    model = named.pop("model", None) or network()
    with torch.random.fork_rng([]):
        seed = named.pop("seed", 1)
        training = train(model, seed, TrainingRequest(data, settings, runtime or cpu(), **named))
    return training, model


def with_teacher(data: DeviceData) -> DeviceData:
    """The data with a teacher of other statistics than theirs."""
    taught = copy.copy(data)
    _, model = trained(data, {"epochs": 2, "flip": True})
    own = (data.splits.mean, data.splits.std)
    taught.teacher = Teacher(model, cpu(), ([m + 0.1 for m in own[0]], [2 * s for s in own[1]]), own)
    return taught


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", [*KEYS, "teacher"])
def test_a_training_continued_is_the_one_that_was_not_interrupted(data: DeviceData, name: str, precision: str) -> None:
    options, used = KEYS.get(name, {}), with_teacher(data) if name == "teacher" else data
    runtime = cpu(precision)
    whole = trained(used, options, runtime, resumable=True)
    first, model = trained(used, {**options, "epochs": 2}, runtime, resumable=True)
    saved = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    torch.manual_seed(99)
    again = network()
    again.load_state_dict(saved)
    second, again = trained(used, options, runtime, model=again, first_epoch=2, state=first.state, resumable=True)
    rows = [row | {"seconds": 0} for row in (*first.history, *second.history)]
    assert rows == [row | {"seconds": 0} for row in whole[0].history]
    assert digest(Training({}), again) == digest(Training({}), whole[1])
    assert second.state is not None
    assert whole[0].state is not None
    assert set(second.state) == set(whole[0].state)
    assert all(torch.equal(second.state[key], value) for key, value in whole[0].state.items())
    # What is remembered is needed: without it the training is another one.
    fresh = network()
    fresh.load_state_dict(saved)
    _, fresh = trained(used, options, runtime, model=fresh, first_epoch=2)
    assert digest(Training({}), fresh) != digest(Training({}), whole[1])


@pytest.mark.parametrize("name", [*KEYS, "teacher"])
def test_a_key_repeats_itself_and_makes_a_difference(data: DeviceData, name: str) -> None:
    options, used = KEYS.get(name, {}), with_teacher(data) if name == "teacher" else data
    first = digest(*trained(used, options))
    assert digest(*trained(used, options)) == first
    assert digest(*trained(used, options, seed=2)) != first
    plain = digest(*trained(data, {"micro_batch": 9} if name == "micro_batch" else {}))
    assert (first == plain) == (name == "plain")
    if name == "extra_metrics":  # another measurement of the same network
        assert first[0] == plain[0]


@pytest.mark.parametrize("name", KEYS)
def test_every_key_learns(name: str) -> None:
    data = small_data()
    training, model = trained(data, {**KEYS[name], "epochs": 8, "schedule_epochs": 8})
    assert training.metrics["val_accuracy"] > 0.8
    settings = TrainSettings(**KEYS[name])
    found = measure(model, data, "validation", cpu(), settings)
    assert found["accuracy"] == training.metrics["val_accuracy"]


def test_images_in_order_come_as_the_data_have_them(data: DeviceData) -> None:
    settings = TrainSettings(sampling="in_order", batch_size=30)
    epochs = [
        [*data.training_batches(data.split("train"), settings, torch.contiguous_format, *_streams())] for _ in "ab"
    ]
    for epoch in epochs:
        labels = torch.cat([labels for _, labels in epoch])
        assert len(labels) == len(data.split("train")) // 30 * 30
        assert torch.equal(labels, data.split("train").labels[: len(labels)])


def _streams() -> tuple[torch.Generator, torch.Generator]:
    return torch.Generator().manual_seed(1), torch.Generator().manual_seed(2)


def test_the_likelihood_of_log_shares_is_the_cross_entropy_of_their_network(data: DeviceData) -> None:
    plain, shares = network(), network()
    shares.append(nn.LogSoftmax(1))
    settings = TrainSettings(loss="nll")
    runs = [trained(data, {}, model=plain), trained(data, {"loss": "nll"}, model=shares)]
    for one, other in zip(runs[0][0].history, runs[1][0].history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)
    images, labels = torch.rand(5, 4), torch.tensor([0, 1, 2, 3, 0])
    weights = torch.tensor([1.0, 2.0, 0.5, 1.0])
    logs = images.log_softmax(1)
    same = CrossEntropy(weights=weights)(images, labels)
    torch.testing.assert_close(CrossEntropy(weights=weights, logarithms=True)(logs, labels), same)
    assert settings.needs_autograd
    shares[-1] = nn.Softmax(1)  # the shares themselves in the place of their logarithms: a loss from -1 to 0
    found = measure(shares, data, "validation", cpu(), settings)
    assert -1 <= found["loss"] < 0


def test_a_training_with_another_seed_has_streams_of_its_own(data: DeviceData) -> None:
    first, model = trained(data, {"epochs": 2}, resumable=True)
    ends = []
    for seed in (1, 2, 3):
        _, end = trained(data, {}, model=copy.deepcopy(model), first_epoch=2, state=first.state, seed=seed)
        ends.append(digest(Training({}), end))
    assert ends[0] != ends[1] != ends[2] != ends[0]
    # The order of its own is the one from the beginning of its seed, as it always was.
    orders = []
    for state in (first.state, None):
        request = TrainingRequest(data, TrainSettings(batch_size=32), cpu(), state=state)
        trainee = Single(copy.deepcopy(model), 2, request)
        orders.append(torch.cat([labels for _, labels in trainee.batches()]))
    assert torch.equal(*orders)


def test_mean_weights_are_the_recursion_written_out(data: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    step, seen = Stepper.step, []

    def noted(self: Stepper, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = step(self, images, labels)
        seen.append({name: tensor.clone() for name, tensor in self.network.state_dict().items()})
        return loss

    monkeypatch.setattr(Stepper, "step", noted)
    _, model = trained(data, {"ema": 0.8, **SGD})
    mean = seen[0]
    for weights in seen[1:]:
        mean = {
            name: 0.8 * tensor + 0.2 * weights[name] if tensor.is_floating_point() else weights[name]
            for name, tensor in mean.items()
        }
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():  # of the running statistics too, which belong to the weights
            torch.testing.assert_close(tensor, mean[name], msg=lambda text, name=name: f"{name}: {text}")
    assert not torch.allclose(model[0].weight, seen[-1]["0.weight"])


def test_early_stopping_takes_the_mean_weights_of_the_best_epoch(data: DeviceData) -> None:
    training, model = trained(data, {"ema": 0.9, "patience": 2, "epochs": 12, "schedule_epochs": 12, "lr": 0.02})
    found = measure(model, data, "validation", cpu())
    assert found["accuracy"] == training.metrics["val_accuracy"]
    assert found["accuracy"] == max(row["val_accuracy"] for row in training.history)


def test_an_average_over_mirror_images(data: DeviceData) -> None:
    _, model = trained(data, {"flip": True})
    images = data.normalise(data.split("validation").images, torch.contiguous_format)
    with torch.no_grad():
        outputs = MirrorAverage(model)(images)
        assert torch.allclose(outputs, (model(images) + model(images.flip(3))) / 2)
        assert torch.allclose(outputs, MirrorAverage(model)(images.flip(3)), atol=1e-6)
    expected = (outputs.argmax(1) == data.split("validation").labels).double().mean().item()
    settings = TrainSettings(flip=True, test_flip=True)
    assert measure(model, data, "validation", cpu(), settings)["accuracy"] == expected
    pictures = nn.Conv2d(1, 1, 3, padding=1)
    with torch.no_grad():
        mirrored = MirrorAverage(pictures, pictures=True)(images.flip(3))
        torch.testing.assert_close(mirrored.flip(3), MirrorAverage(pictures, pictures=True)(images))


def test_the_distance_to_a_teacher_written_out(data: DeviceData) -> None:
    taught = with_teacher(data)
    assert taught.teacher is not None
    settings = TrainSettings(teacher_weight=0.3, teacher_temperature=4.0)
    raw = data.split("train").images[:40].float() / 255
    inputs = data.normalise(data.split("train").images[:40], torch.contiguous_format)
    mean, std = data.splits.mean[0] + 0.1, 2 * data.splits.std[0]
    with torch.no_grad():
        wanted = taught.teacher.network((raw - mean) / std)
    torch.testing.assert_close(taught.teacher(inputs), wanted, atol=1e-4, rtol=1e-4)
    outputs = torch.randn(40, 4, requires_grad=True)
    shares, logarithms = (wanted / 4).softmax(1), (outputs / 4).log_softmax(1)
    apart = (shares * (shares.log() - logarithms)).sum(1).mean() * 16
    loss = taught.teacher.loss(torch.tensor(2.0), outputs, inputs, settings)
    assert loss.item() == pytest.approx(0.7 * 2 + 0.3 * apart.item(), rel=1e-4)
    loss.backward()
    assert outputs.grad is not None
    # In parts the losses add up to the same.
    labels, plain = data.split("train").labels[:40], data.training_loss(TrainSettings(), data.split("train"))
    whole = taught.teacher.loss(plain(outputs, labels), outputs, inputs, settings)
    total = 0.0
    for (some, theirs, share), given in zip(parts_of(inputs, labels, 16, plain), outputs.tensor_split(3), strict=True):
        total += (taught.teacher.loss(plain(given, theirs), given, some, settings) * share).item()
    assert total == pytest.approx(whole.item(), rel=1e-5)


def test_a_network_that_only_follows_a_teacher_comes_near_to_it(data: DeviceData) -> None:
    taught = with_teacher(data)
    assert taught.teacher is not None
    before = {name: tensor.clone() for name, tensor in taught.teacher.network.state_dict().items()}
    images = data.normalise(data.split("validation").images, torch.contiguous_format)
    answers = taught.teacher(images).argmax(1)
    _, model = trained(taught, {"teacher_weight": 1.0, "epochs": 12, "schedule_epochs": 12})
    model.eval()
    with torch.no_grad():
        same = (model(images).argmax(1) == answers).double().mean().item()
    assert same > 0.85
    assert all(torch.equal(tensor, before[name]) for name, tensor in taught.teacher.network.state_dict().items())


def test_dense_networks_train_alone_where_by_hand_does_not_do(data: DeviceData) -> None:
    def dense() -> nn.Sequential:
        torch.manual_seed(5)
        return nn.Sequential(nn.Flatten(), nn.Linear(144, 8), nn.ReLU(), nn.Linear(8, 4))

    assert not isinstance(make_trainee([dense()], [1], TrainingRequest(data, TrainSettings(), cpu())), Single)
    for name in BY_AUTOGRAD:
        changed = next((options for options in KEYS.values() if name in options), {"loss": "nll"})
        settings = TrainSettings(**changed)
        assert settings.needs_autograd, name
        assert isinstance(make_trainee([dense()], [1], TrainingRequest(data, settings, cpu())), Single), name
    for name in ("linear", "warm_up"):
        settings = TrainSettings(**KEYS[name], epochs=2)
        assert not isinstance(make_trainee([dense()], [1], TrainingRequest(data, settings, cpu())), Single)
        # The same rates by hand and by autograd.
        byhand, single = dense(), dense()
        request = TrainingRequest(data, settings, cpu(), validation=None)
        [outcome] = train_together([byhand], [1], request)
        assert isinstance(outcome, Training)
        train(single, 1, replace(request, resumable=True))
        torch.testing.assert_close(byhand[-1].weight, single[-1].weight, atol=1e-4, rtol=1e-3)
    assert isinstance(make_trainee([dense()], [1], TrainingRequest(with_teacher(data), TrainSettings(), cpu())), Single)


REFUSED = [
    ({"loss": "nll", "label_smoothing": 0.1}, "loss=nll: takes whole labels; needs label_smoothing=0 mixup=0 cutmix=0"),
    ({"test_flip": True}, "test_flip=true: networks that never saw mirrored images know none; needs flip=true"),
    (
        {"sampling": "balanced", "class_weights": "balanced"},
        "sampling=balanced: makes up for rare classes already; needs class_weights=none",
    ),
]


@pytest.mark.parametrize(("options", "text"), REFUSED)
def test_settings_that_contradict_each_other_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        TrainSettings(**options)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ema", 1.0),
        ("warm_up", 1.0),
        ("cutout", -1),
        ("random_erasing", 1.1),
        ("mixup", -0.1),
        ("cutmix", "yes"),
        ("teacher_weight", 2),
        ("teacher_temperature", 0),
        ("class_weights", "even"),
        ("class_weights", [1, -1]),
        ("extra_metrics", ["f2"]),
        ("extra_metrics", "auc"),
        ("sampling", "class"),
        ("schedule", "straight"),
    ],
)
def test_values_out_of_range_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^evaluator\.{key}="):
        check_section(TrainSettings, {key: value}, "evaluator")


def test_settings_with_lists_can_be_compared_and_are_keys() -> None:
    checked = check_section(TrainSettings, {"class_weights": [1, 2], "extra_metrics": ["auc"]}, "evaluator")
    settings = TrainSettings(**checked)
    assert settings.class_weights == (1.0, 2.0)
    assert len({settings, TrainSettings(class_weights=(1.0, 2.0), extra_metrics=("auc",))}) == 1
