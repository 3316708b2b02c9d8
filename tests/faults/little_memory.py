"""Runs `nasrun` in a process that can take so many MiB more than it has once everything is imported:
`python -m tests.faults.little_memory MIB WORD...`"""

import sys

import torch

from nasrun.cli import main as cli
from tests.evaluators.conftest import SMALL, Bench
from tests.faults.scarce import few_addresses


def main() -> int:
    megabytes = int(sys.argv[1])
    sys.argv[1:] = sys.argv[2:]
    bench = Bench(*SMALL)
    assert bench.measure(bench.job())[0].status == "ok"  # by now all that a training needs is imported
    # Without memory, oneDNN's convolutions were seen to write beyond what they had.
    torch.backends.mkldnn.enabled = False
    import nasrun.cli.launch
    import nasrun.runner.run  # noqa: F401

    with few_addresses(megabytes):
        return cli.main()


if __name__ == "__main__":
    sys.exit(main())
