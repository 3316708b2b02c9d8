"""Training speed of `staged_cnn` networks: images per second by the kind of block, in one thread.

    python scripts/bench_blocks.py [--seconds 2] [--batch 64] [GENOME...]

Times whole training steps by `nasrun.training.single` (SGD, the precision and memory format that nasrun chooses) on
synthetic images of CIFAR-10's size, in processor time. Prints Markdown: images per second, FLOPs of a forward pass, and
FLOPs per second, where a step counts as three forward passes.
"""

import argparse
import time

import torch

from nasrun.config.build import build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Task
from nasrun.hardware.devices import Hardware
from nasrun.training.settings import TrainSettings
from nasrun.training.single import Stepper

TASK = Task("cifar10", 3, 32, 32, 10)
STEM = "relu-cn_r1_k3_s1_c16-"
GENOMES = [
    STEM + "bb_r1_k3_s1_c16-bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    STEM + "bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    STEM.replace("relu", "hswish") + "bb_r1_k3_s2_c32-bb_r1_k3_s2_c64",
    STEM.replace("s1", "s2") + "bb_r1_k3_s1_c32-bb_r1_k3_s2_c64",
    STEM + "cn_r2_k3_s2_c32-cn_r2_k3_s2_c64",
    STEM + "er_r1_k3_s2_e4_c32-er_r1_k3_s2_e2_c64",
    STEM + "ds_r2_k3_s2_c64-ds_r2_k3_s2_c128",
    STEM + "ir_r2_k3_s2_e4_c24-ir_r2_k3_s2_e4_c40",
    STEM + "ir_r2_k3_s2_e4_c24_se0.25-ir_r2_k3_s2_e4_c40_se0.25",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("genomes", nargs="*", metavar="GENOME")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    space = build(task_config(compose_config(["search_space=staged_cnn", "strategy=random"]))).space
    runtime = Hardware(device="cpu", threads=1).resolve()
    runtime.apply()
    print(f"{runtime.precision}: {runtime.reason}\n\n| genome | images/s | MFLOPs | GFLOP/s |\n|---|---|---|---|")
    for text in args.genomes or GENOMES:
        genome = space.parse(text)
        model = runtime.place(space.build(genome, TASK)).train()
        stepper = Stepper(model, TrainSettings(optimizer="sgd", batch_size=args.batch), runtime, steps=10**6)
        images = torch.randn(args.batch, 3, 32, 32).to(memory_format=stepper.memory_format)
        labels = torch.randint(10, (args.batch,))
        for _ in range(3):
            stepper.step(images, labels)
        steps, started = 0, time.process_time()
        while time.process_time() - started < args.seconds:
            stepper.step(images, labels)
            steps += 1
        rate = steps * args.batch / (time.process_time() - started)
        flops = space.cost(genome, TASK).flops
        print(f"| `{text}` | {rate:,.0f} | {flops / 1e6:.1f} | {3 * flops * rate / 1e9:.0f} |", flush=True)


if __name__ == "__main__":
    main()
