"""Pin the trajectory of every strategy as it is now. A changed file changes users' results: say why in the commit."""

import json

from tests.contracts.test_strategies import GOLDEN, digest
from tests.support import options

for name in options("strategy"):
    (GOLDEN / f"{name}.json").write_text(json.dumps(digest(name), indent=2) + "\n")
    print(f"pinned {name}")
