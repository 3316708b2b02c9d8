"""Pin the trajectories of the named strategies, or of all, as they are now: python -m tests.golden [NAME ...]

A changed file changes users' results: say why in the commit.
"""

import json
import sys

from tests.contracts.test_strategies import GOLDEN, digest
from tests.support import options

for name in sys.argv[1:] or options("strategy"):
    (GOLDEN / f"{name}.json").write_text(json.dumps(digest(name), indent=2) + "\n")
    print(f"pinned {name}")
