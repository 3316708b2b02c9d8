"""Writes the layers of a search space as ONNX files, to be measured on another device by `measure_latency.py`.

    python scripts/latency_layers.py FOLDER search_space=staged_cnn dataset=cifar10 constraints.parameters=100000

The layers are those of 60 networks, drawn as in a search, and of the known ones; 8 of the networks are also written
whole, to check sums of layers.
"""

import argparse
import csv
from functools import partial
from pathlib import Path

import torch

from nasrun.config.build import build, sample_rng
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Genome
from nasrun.hardware.latency_table import JOINED
from nasrun.hardware.layers import Layer, empty_onnx, layers_of, onnx_of
from nasrun.hardware.onnx_program import onnx_program

NETWORKS, WHOLE = 60, 8


def main() -> None:
    """Write the files for the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder for the files")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="the arguments of the search")
    arguments = parser.parse_args()
    folder = arguments.folder
    write(folder, arguments.words)
    print(f"{len(list(folder.glob('*.onnx')))} files written to {folder}; on the device: python measure_latency.py")


def write(folder: Path, words: list[str], networks: int = NETWORKS, whole: int = WHOLE) -> None:
    """Write the layers of so many networks, and some whole networks, into a new folder."""
    setup = build(task_config(compose_config(words)))
    space, task, rng = setup.steered, setup.dataset.task, sample_rng(setup.options.seed)

    def deployed(genome: Genome) -> torch.nn.Module:
        return setup.evaluator.deployed(space.build(genome, task))

    folder.mkdir(parents=True)
    rows = [("empty.onnx", "")]
    (folder / "empty.onnx").write_bytes(empty_onnx().SerializeToString())
    genomes = [*space.known().values(), *(space.sample(rng) for _ in range(networks))][:networks]
    found: dict[Layer, None] = {}
    for number, genome in enumerate(genomes):
        layers = layers_of(partial(deployed, genome), task)
        found |= dict.fromkeys(layers)
        if number < whole:
            network = deployed(genome).eval()
            example = torch.zeros(2, task.channels, task.height, task.width)
            onnx_program(network, example).save(str(folder / f"network{number}.onnx"))
            rows.append((f"network{number}.onnx", JOINED.join(map(str, layers))))
    for layer in found:
        (folder / f"{layer}.onnx").write_bytes(onnx_of(layer).SerializeToString())
        rows.append((f"{layer}.onnx", str(layer)))
    with (folder / "layers.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "layers"), *rows])


if __name__ == "__main__":
    main()
