"""Makes a benchmark table: 2,000 small networks of `sequential_cnn`, each trained for a short time.

    python scripts/make_cnn_table.py cnn2000.csv [--networks 2000] [--seed 0] [WORD...]

Draws different networks of a space of 2,268 (two or three convolutions of 4, 8 or 16 filters), trains each on 2,000
images of Fashion-MNIST for 2 epochs with its own seed, measures its weights on the validation and the test data, and
writes a row at once. A later call continues after the last whole row, and does not change a complete file. Seconds are
processor seconds; except for them, the rows do not depend on interruptions. WORDs are further overrides of the config.
Prints the arguments with which `nasrun` searches the table.
"""

import argparse
import csv
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from nasrun.config.build import Setup, build
from nasrun.config.compose import compose_config, task_config
from nasrun.core import Genome, Job, Proposal, SearchSpace, Trial, seeding

SPACE = (
    "search_space=sequential_cnn",
    "search_space.min_depth=2",
    "search_space.max_depth=3",
    "search_space.filters=[4,8,16]",
    "search_space.activations=[relu]",
)
TRAINING = ("dataset=fashion_mnist_mini", "dataset.train_samples=2000", "evaluator.epochs=2", "hardware=cpu")
COLUMNS = ("genome", "val_accuracy", "test_accuracy", "seed", "parameters", "seconds")


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--networks", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0, help="seed of the drawn networks, and of their training")
    parser.add_argument("words", nargs="*", metavar="WORD", help="further overrides of the config: hardware.threads=1")
    arguments = parser.parse_intermixed_args()
    setup = build(task_config(compose_config([*SPACE, *TRAINING, *arguments.words])))
    genomes = drawn(setup.space, arguments.networks, arguments.seed)
    done = whole_rows(arguments.table, [setup.space.format(genome) for genome in genomes])
    with arguments.table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not done:
            writer.writeheader()
        for number, row in enumerate(trained(setup, genomes, done, arguments.seed), start=done + 1):
            writer.writerow(row)
            file.flush()
            if number % 100 == 0:
                print(f"{number} of {len(genomes)}", file=sys.stderr)
    own = [word for word in arguments.words if word.startswith("search_space")]
    print(
        f"nasrun {' '.join([*SPACE, *own])} {TRAINING[0]} evaluator=table evaluator.table={arguments.table.resolve()}"
    )


def drawn(space: SearchSpace, count: int, seed: int) -> list[Genome]:
    """So many different networks, in an order that depends on the seed."""
    if count > (space.size or count):
        sys.exit(f"--networks {count}: the search space has {space.size}")
    rng = np.random.default_rng(seed)
    found: dict[Genome, None] = {}
    while len(found) < count:
        found[space.sample(rng)] = None
    return list(found)


def whole_rows(table: Path, genomes: list[str]) -> int:
    """Number of rows in a table, without an incomplete last one, which is removed; exits if the table holds other
    networks."""
    if not table.exists():
        return 0
    content, heading = table.read_bytes(), ",".join(COLUMNS).encode()
    whole = content[: content.rfind(b"\n") + 1]
    rows = list(csv.DictReader(whole.decode(errors="replace").splitlines()))
    ours = heading.startswith(content[: len(heading)]) and (len(content) <= len(heading) or content[len(heading)] == 10)
    if not ours or [row.get("genome") for row in rows] != genomes[: len(rows)]:
        sys.exit(f"{table}: holds other networks than these; take another file")
    kept = whole if rows else b""
    if kept != content:
        table.write_bytes(kept)
    return len(rows)


def trained(setup: Setup, genomes: list[Genome], done: int, seed: int) -> Iterator[Mapping[str, object]]:
    """The rows after the first `done`, each as soon as its network is trained and tested. Validation and test accuracy
    are those of the same weights."""
    if done < len(genomes):
        setup.evaluator.prepare()
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "weights.zip")
        for number, genome in list(enumerate(genomes))[done:]:
            job = Job(Trial(number, Proposal(genome)), 0, seeding.integer(seed, seeding.Purpose.JOB, number))
            started = time.process_time()
            (measured,) = setup.evaluator.evaluate([job._replace(save_to=weights)])
            seconds = time.process_time() - started
            name = setup.space.format(genome)
            if measured.status != "ok":
                sys.exit(f"{name}: {measured.error}")
            tested = setup.evaluator.test(job._replace(load_from=weights))["metrics"]
            yield {
                "genome": name,
                "val_accuracy": measured.metrics["val_accuracy"],
                "test_accuracy": tested["test_accuracy"],
                "seed": job.seed,
                "parameters": int(measured.metrics["parameters"]),
                "seconds": round(seconds, 3),
            }


if __name__ == "__main__":
    main()
