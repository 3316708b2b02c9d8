"""The hand-written script with Optuna: part of the time is spent on its settings, the rest on training the best.

    python scripts/optuna_baseline.py --seconds 60 --seed 0 dataset=cifar10 dataset.train_samples=6000

The network, the loop and the arguments of the data are those of `handwritten_baseline.py`. TPE, Optuna's default,
chooses the highest learning rate, weight decay, label smoothing, the shift, and the width within the limit of
parameters. All trials train for the same time and are measured on the validation images; the remaining time goes to the
best settings, on all training images. Prints one line of JSON, like the hand-written script. Needs optuna.
"""

import argparse
import time

import optuna
import torch
from handwritten_baseline import Loop, Settings, arguments_of, resnet8, tell, widest

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.datasets import Dataset, Split

TRIALS = 8
SEARCH_SHARE = 0.4
"""Share of the time for all trials together."""


def loop_of(arguments: argparse.Namespace, dataset: Dataset, training: Split, width: int, settings: Settings) -> Loop:
    """The hand-written loop, ready to train."""
    torch.manual_seed(arguments.seed)
    model = resnet8(dataset.task.channels, dataset.task.outputs, width)
    loop = Loop(model, dataset.load(), training, dataset.name, arguments.seed, settings)
    loop.choose_precision()
    return loop


def main() -> None:
    """Search, train the best, and print the results."""
    arguments = arguments_of(__doc__.splitlines()[0])
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    dataset = build(task_config(compose_config(arguments.data))).dataset
    splits = dataset.load()
    most = widest(dataset.task.channels, dataset.task.outputs, arguments.parameters)
    started = time.process_time()
    per_trial = (arguments.seconds - started) * SEARCH_SHARE / TRIALS

    def measured(trial: optuna.Trial) -> float:
        settings = Settings(
            trial.suggest_float("peak", 0.03, 1.0, log=True),
            trial.suggest_float("decay", 1e-4, 5e-3, log=True),
            trial.suggest_float("smoothing", 0.0, 0.1),
            trial.suggest_int("shift", 1, 4),
        )
        loop = loop_of(arguments, dataset, splits.train, trial.suggest_int("width", max(2, most // 2), most), settings)
        loop.train(started + (trial.number + 1) * per_trial)
        return loop.accuracy(splits.validation.images, splits.validation.labels)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=arguments.seed))
    study.optimize(measured, n_trials=TRIALS)
    best = dict(study.best_params)
    loop = loop_of(arguments, dataset, splits.whole_training, best.pop("width"), Settings(**best))
    tell(loop, splits, loop.train(arguments.seconds), arguments.more)


if __name__ == "__main__":
    main()
