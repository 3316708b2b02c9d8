"""Recipes of evaluator `train`: how `auto` is resolved, recorded and followed; teachers; requested metrics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasrun.checkpoints.archive import read_info, read_optimizer
from nasrun.checkpoints.store import load_weights
from nasrun.checkpoints.winner import FILE, Winner, read_winner, save_winner
from nasrun.core import Job, Proposal, Trial
from nasrun.core.config_files import conf_dir
from nasrun.core.option_files import option_values
from nasrun.core.options import ConfigError
from nasrun.evaluators.costs import WithCosts
from nasrun.evaluators.train.evaluator import Train
from nasrun.evaluators.train.recipe import KEYS, summary
from nasrun.training import single
from nasrun.training.settings import TrainSettings
from nasrun.training.state import restore_training
from tests.evaluators.conftest import SMALL, Bench
from tests.support import setup_of

RECIPES = sorted(path.stem for path in (conf_dir() / "recipe").glob("*.yaml"))
LARGE = ("dataset.samples=15000", "dataset.validation=0.1")


def settings_of(bench: Bench) -> TrainSettings:
    return bench.train.settings


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_value_for_every_key_and_trains(name: str) -> None:
    values = option_values("recipe", name)
    assert set(values) == set(KEYS)
    assert (set(values.values()) == {"auto"}) == (name == "auto")
    bench = Bench(f"recipe={name}", "evaluator.batch_size=32")
    assert "auto" not in vars(settings_of(bench)).values()
    for key, value in values.items():
        if value != "auto" and key != "batch_size":
            assert getattr(settings_of(bench), key) == value
    [measurement] = bench.measure(bench.job(budget=2))
    assert measurement.status == "ok"


def test_plain_is_what_training_was_without_recipes() -> None:
    bench = Bench()
    assert settings_of(bench) == TrainSettings(epochs=1, batch_size=32, weight_decay=0.0005)
    assert "recipe" not in bench.facts


@pytest.mark.parametrize(
    ("words", "name", "batch"),
    [
        ((), "tiny_data", 64),
        (LARGE, "strong", 128),
        (("search_space.batch_norm=false",), "plain", 128),
        (("search_space=mlp",), "plain", 128),
    ],
)
def test_auto_chooses_by_the_data_and_the_networks(words: tuple[str, ...], name: str, batch: int) -> None:
    base = [word for word in SMALL if not word.startswith(("evaluator.batch", "search_space"))]
    bench = Bench("recipe=auto", *words, base=base)
    record = bench.facts["recipe"]
    assert record["name"] == name
    assert set(record["settings"]) == set(KEYS)
    assert settings_of(bench).batch_size == batch
    assert settings_of(bench) == TrainSettings(epochs=1, **record["settings"])
    assert not settings_of(bench).flip  # made-up patterns are not to be mirrored
    assert summary(record).startswith(f"recipe {name}: ")
    json.dumps(record)


@pytest.mark.parametrize(("side", "shift"), [(8, 1), (16, 1), (28, 2), (32, 2), (64, 4), (224, 14)])
def test_images_move_in_proportion_to_their_size(side: int, shift: int) -> None:
    size = (f"dataset.height={side}", f"dataset.width={side + 4}")
    assert settings_of(Bench("evaluator.shift=auto", *size)).shift == shift


def test_what_the_command_line_sets_wins_over_the_recipe() -> None:
    bench = Bench("recipe=auto", "evaluator.shift=3", "evaluator.flip=true", "evaluator.weight_decay=0.01")
    found = settings_of(bench)
    assert (found.batch_size, found.shift, found.flip, found.weight_decay) == (32, 3, True, 0.01)
    assert found.optimizer == "sgd"
    assert not {"batch_size", "shift", "flip", "weight_decay"} & set(bench.facts["recipe"]["settings"])
    # The rate of a recipe is that of its optimizer.
    assert settings_of(Bench("recipe=auto", "evaluator.optimizer=adamw")).peak_lr == 0.003


@pytest.mark.parametrize("recipe", ["auto", "strong", "tiny_data", "plain"])
@pytest.mark.parametrize("flip", [False, True])
def test_mirror_images_are_for_the_test_where_they_are_for_the_training(recipe: str, flip: bool) -> None:
    found = settings_of(Bench(f"recipe={recipe}", f"evaluator.flip={str(flip).lower()}", "evaluator.test_flip=auto"))
    assert (found.flip, found.test_flip) == (flip, flip)


def test_a_recipe_that_leaves_something_to_the_data_is_recorded_too() -> None:
    bench = Bench("recipe=strong")
    assert bench.facts["recipe"]["name"] is None
    assert bench.facts["recipe"]["settings"] == {"shift": 1, "flip": False, "test_flip": False, "first_size": 1.0}
    assert summary(bench.facts["recipe"]).startswith("settings by the data: 140 training images of 8 x 8; ")


def test_a_resumed_run_follows_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench("recipe=auto")
    recorded = json.loads(json.dumps(bench.facts))
    recorded["recipe"]["settings"] |= {"lr": 0.07, "shift": 2}
    monkeypatch.setattr("nasrun.evaluators.train.recipe.settle", None)  # nothing is decided anew
    again = setup_of(*SMALL, "recipe=auto").evaluator
    assert isinstance(again, Train)
    assert again.prepare(recorded) == recorded
    assert (again.settings.lr, again.settings.shift) == (0.07, 2)


def test_a_run_that_began_without_recipes_goes_on() -> None:
    bench = Bench()
    assert bench.train.prepare({"runtime": bench.facts["runtime"]}) == {"runtime": bench.facts["runtime"]}


REFUSED = [
    (("recipe=strong", "evaluator=synthetic"), "recipe.optimizer=sgd: recipes are for evaluator=train, and Synthetic"),
    (("evaluator.flip=maybe",), "evaluator.flip=maybe: expected true or false or auto"),
    (("evaluator.optimizer=auto", "evaluator.lr=-1"), "evaluator.lr=-1: must be above 0"),
    (("recipe.flip=2", "evaluator.flip=true"), "recipe.flip=2: expected true or false or auto"),
    (("+recipe.flop=1",), "recipe.flop: no such key; did you mean 'flip'?"),
    (("evaluator.epochs=auto",), "evaluator.epochs=auto: expected a whole number"),
    (("evaluator.test_flip=true",), "evaluator.test_flip=true: networks that never saw mirrored images know none"),
    (("evaluator.class_weights=[1,2]",), "evaluator.class_weights=[1.0,2.0]: 2 weights; dataset=synthetic has 4"),
    (
        ("evaluator.extra_metrics=[f1]",),
        "evaluator.extra_metrics=[f1]: unknown; known: auc, balanced_accuracy, macro_f1",
    ),
    (("objective=val_aux",), "objective.metric=val_aux: not reported by this evaluator; did you mean 'val_auc'?"),
]


@pytest.mark.parametrize(("words", "text"), REFUSED)
def test_nonsense_is_refused_in_one_line(words: tuple[str, ...], text: str) -> None:
    base = [word for word in SMALL if "evaluator=synthetic" not in words or not word.startswith("evaluator")]
    words = tuple(word.replace("objective=", "objective.metric=") for word in words)
    with pytest.raises(ConfigError) as caught:
        setup_of(*base, *words)
    assert str(caught.value).startswith(text)


def test_mirrored_measuring_of_images_that_are_not_mirrored_is_refused_when_that_is_known() -> None:
    with pytest.raises(ConfigError, match=r"^evaluator\.test_flip=true: networks that never saw mirrored images"):
        Bench("evaluator.flip=auto", "evaluator.test_flip=true")


@pytest.mark.parametrize("key", ["mixup=0.2", "cutout=4", "class_weights=balanced", "extra_metrics=[auc]"])
def test_keys_for_classes_are_refused_for_regression(key: str) -> None:
    from nasrun.evaluators.train.checks import check_task
    from tests.training.auto_encoders import AutoEncoders

    bench = Bench(f"evaluator.{key}")
    dataset = bench.setup.dataset
    task = dataset.task.__class__("pictures", 1, 8, 8, 1, "regression")
    fake = type("Pictures", (), {"name": "pictures", "task": task})()
    with pytest.raises(ConfigError, match=rf"^evaluator\.{key.split('=')[0]}=.*: is for classification"):
        check_task(AutoEncoders(), fake, settings_of(bench), None)


def test_metrics_that_an_objective_names_are_measured_and_no_others(tmp_path: Path) -> None:
    words = ("objective.metric=[val_balanced_accuracy,val_auc,latency_ms]",)
    setup = setup_of(*SMALL, *words)
    assert isinstance(setup.evaluator, WithCosts)
    setup.evaluator.prepare()
    genome = setup.space.sample(np.random.default_rng(0))
    job = Job(Trial(0, Proposal(genome)), 0, 5, None, str(tmp_path / "0-0.zip"))
    [measurement] = list(setup.evaluator.evaluate([job]))
    assert measurement.status == "ok", measurement.error
    assert {"val_balanced_accuracy", "val_auc", "latency_ms"} <= set(measurement.metrics)
    assert "val_macro_f1" not in measurement.metrics
    assert 0 <= measurement.metrics["val_auc"] <= 1
    # Classes of the same number of validation images: the mean over them is the mean over the images.
    assert measurement.metrics["val_balanced_accuracy"] == pytest.approx(measurement.metrics["val_accuracy"])
    assert {row for row in measurement.history[0] if row.startswith("val_")} == {
        *("val_accuracy", "val_loss", "val_balanced_accuracy", "val_auc")
    }
    assert "test_balanced_accuracy" in setup.evaluator.final(job._replace(save_to=None))["metrics"]


def test_metrics_of_the_config_are_what_an_objective_may_name() -> None:
    bench = Bench("evaluator.extra_metrics=[macro_f1]")
    assert bench.train.metrics[-1] == "val_macro_f1"
    [measurement] = bench.measure(bench.job())
    assert set(measurement.metrics) == {*bench.train.metrics, "epochs"}


def test_rare_classes_are_recognised_with_weights_or_balanced_sampling(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0] * 360 + [1] * 40)
    images = rng.integers(0, 200, (400, 8, 8), dtype=np.uint8)
    images[labels == 1, 2:6, 2:6] += np.uint8(40)  # hard to see, and nine of ten images have none
    np.savez(tmp_path / "rare.npz", images=images, labels=labels)
    base = [word for word in SMALL if not word.startswith("dataset")]
    own = ("dataset=arrays", f"dataset.path={tmp_path / 'rare.npz'}", "dataset.validation=0.3")
    found = {}
    for name, word in (
        ("plain", "sampling=shuffled"),
        ("weights", "class_weights=balanced"),
        ("sampling", "sampling=balanced"),
    ):
        bench = Bench(*own, f"evaluator.{word}", "evaluator.extra_metrics=[balanced_accuracy]", base=base)
        runs = bench.measure(*(bench.job(repeat=repeat, budget=6) for repeat in range(3)))
        found[name] = np.mean([run.metrics["val_balanced_accuracy"] for run in runs])
    assert found["weights"] > found["plain"] + 0.1
    assert found["sampling"] > found["plain"] + 0.1


def test_jobs_with_such_keys_train_alone() -> None:
    words = ("search_space=mlp", "hardware.in_flight=4", "evaluator.replicas=padded")
    base = [word for word in SMALL if not word.startswith("search_space")]
    for word, together in (("schedule=linear", 4), ("ema=0.9", 1), ("cutout=2", 1), ("class_weights=balanced", 1)):
        bench = Bench(*words, f"evaluator.{word}", base=base)
        jobs = [bench.job(number) for number in range(4)]
        assert len(bench.train.group(jobs)) == together, word


@pytest.mark.parametrize("key", ["ema=0.9", "mixup=0.3"])
def test_a_job_continued_from_its_archive_is_the_one_that_was_not_interrupted(tmp_path: Path, key: str) -> None:
    bench = Bench(f"evaluator.{key}", "evaluator.optimizer=sgd")
    first, second, whole = (tmp_path / f"{name}-0.zip" for name in range(3))
    job = bench.job(0, budget=5, save_to=whole)._replace(resumable=True)
    [expected] = bench.measure(job)
    [_] = bench.measure(bench.job(0, budget=2, horizon=5, save_to=first)._replace(resumable=True))
    going_on = bench.job(0, budget=5, parent=0, warm_start="continue", load_from=first, save_to=second)
    [found] = bench.measure(going_on._replace(resumable=True))
    assert found.metrics == expected.metrics
    assert all(torch.equal(tensor, load_weights(whole)[name]) for name, tensor in load_weights(second).items())
    ours, theirs = read_optimizer(second), read_optimizer(whole)
    assert ours is not None
    assert theirs is not None
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert read_info(second).hparams["ema"] == (0.9 if key.startswith("ema") else 0)
    # With partners the weights to go on with are the mean of all.
    given: list[Any] = []
    restore = restore_training
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single, "restore_training", lambda state, *rest: (given.append(state), restore(state, *rest)))
        partners = going_on._replace(resumable=True, partners=(str(whole),))
        assert bench.measure(partners)[0].status == "ok"
    assert not any(name.startswith("@learned/") for name in given[0])


class TestTeacher:
    """A finished run's network as teacher."""

    @pytest.fixture
    def taught_by(self, tmp_path: Path) -> Path:
        bench = Bench("evaluator.final_epochs=3", "evaluator.flip=true", "evaluator.test_flip=true")
        (tmp_path / "run").mkdir()
        job = bench.job(genome=bench.genome(3), save_to=tmp_path / "run" / FILE)
        result = bench.train.final(job)
        assert {"test_accuracy", "test_without_flip_accuracy"} <= set(result["metrics"])
        return tmp_path / "run"

    def test_the_winners_file_tells_what_it_is(self, taught_by: Path) -> None:
        about = read_winner(taught_by / FILE)
        assert about is not None
        assert about.test_flip
        assert about.task == Bench().setup.dataset.task
        assert about.classes == ["0", "1", "2", "3"]

    def test_networks_learn_from_it_and_the_record_says_which(self, taught_by: Path) -> None:
        words = (f"evaluator.teacher={taught_by}", "evaluator.teacher_weight=0.8", "evaluator.repeats=2")
        bench = Bench(*words)
        about = read_winner(taught_by / FILE)
        assert about is not None
        assert bench.facts["teacher"]["genome"] == about.genome
        assert bench.facts["replicas"]["mode"] == "off"
        [taught] = bench.measure(bench.job())
        [plain] = Bench().measure(bench.job())
        assert taught.status == "ok"
        assert taught.metrics["train_loss"] != plain.metrics["train_loss"]
        assert bench.measure(bench.job())[0].metrics == taught.metrics
        assert bench.train.estimate(bench.job().trial) is not None
        recorded = json.loads(json.dumps(bench.facts))
        again = setup_of(*SMALL, *words).evaluator
        assert again.prepare(recorded) == recorded

    def test_a_dense_network_learns_from_it_too(self, taught_by: Path) -> None:
        base = [word for word in SMALL if not word.startswith("search_space")]
        bench = Bench("search_space=mlp", f"evaluator.teacher={taught_by}", base=base)
        assert bench.measure(bench.job())[0].status == "ok"

    def test_another_network_than_at_the_start_is_refused(self, taught_by: Path) -> None:
        bench = Bench(f"evaluator.teacher={taught_by}")
        about, weights = read_winner(taught_by / FILE), load_weights(taught_by / FILE)
        assert about is not None
        model = bench.setup.space.build(bench.setup.space.parse(about.genome), about.task)
        model.load_state_dict(weights)
        with torch.no_grad():
            next(model.parameters()).mul_(2)
        save_winner(taught_by / FILE, about, model)
        with pytest.raises(ConfigError, match=r"^evaluator\.teacher=.*: has .* now, but this run began with other"):
            bench.train.prepare(bench.facts)

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ("dataset.classes=3", r"its network is for classification, 1 x 8 x 8 to 4 classes; the data are 1 x 8 x 8"),
            ("dataset.height=9", r"its network is for .*; the data are 1 x 9 x 8 to 4 classes"),
        ],
    )
    def test_a_teacher_for_other_data_is_refused(self, taught_by: Path, change: str, text: str) -> None:
        with pytest.raises(ConfigError, match=rf"^evaluator\.teacher=.*run: {text}"):
            Bench(f"evaluator.teacher={taught_by}", change)

    def test_what_is_no_network_is_refused(self, tmp_path: Path, taught_by: Path) -> None:
        for path, text in ((tmp_path, r"it has no best/model\.safetensors"), (taught_by, "cannot be read")):
            if path == taught_by:
                (path / FILE).write_bytes(b"no weights")
            with pytest.raises(ConfigError, match=rf"^evaluator\.teacher=.*: {text}"):
                Bench(f"evaluator.teacher={path}")

    def test_classes_in_another_order_are_refused(self, taught_by: Path) -> None:
        about, weights = read_winner(taught_by / FILE), load_weights(taught_by / FILE)
        assert about is not None
        bench = Bench()
        model = bench.setup.space.build(bench.setup.space.parse(about.genome), about.task)
        model.load_state_dict(weights)
        save_winner(taught_by / FILE, Winner(**{**vars(about), "classes": ("1", "0", "2", "3")}), model)
        with pytest.raises(
            ConfigError, match=r"its network's classes are 1, 0, 2, 3; those of the data are 0, 1, 2, 3"
        ):
            Bench(f"evaluator.teacher={taught_by}")


def test_images_begin_small_only_where_networks_take_them() -> None:
    words = ("evaluator=train", "dataset=synthetic", "dataset.height=32", "dataset.width=32", "hardware=cpu")
    with pytest.raises(ConfigError, match=r"evaluator\.first_size=0\.5: networks of Mlp take images of one size alone"):
        setup_of("search_space=mlp", "evaluator.first_size=0.5", *words).evaluator.prepare()
    for space, first in (("staged_cnn", 0.5), ("mlp", 1.0)):
        facts = setup_of(f"search_space={space}", "recipe=strong", *words).evaluator.prepare()
        assert facts["recipe"]["settings"]["first_size"] == first
