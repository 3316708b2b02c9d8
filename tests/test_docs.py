"""What the documentation shows is run as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def test_a_strategy_is_one_python_file_and_one_yaml_file(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "strategies.md").read_text(), re.DOTALL)
    (tmp_path / "climbing.py").write_text(code)
    (tmp_path / "conf" / "strategy").mkdir(parents=True)
    (tmp_path / "conf" / "strategy" / "mine.yaml").write_text("_target_: climbing.HillClimbing\nsteps: 1\n")
    words = ["--config-dir", "conf", "strategy=mine", "evaluator=synthetic", "trials=20", "output.plots=false"]

    def nasrun(*more: str) -> "subprocess.CompletedProcess[str]":
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        program = Path(sys.executable).with_name("nasrun")
        return subprocess.run([program, *words, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)

    done = nasrun("hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "trials.csv").read_text().count(",climb,") == 19
    refused = nasrun("strategy.steps=0", "hydra.run.dir=other")
    assert refused.returncode == 2
    assert refused.stderr == "nasrun: strategy.steps=0: must be at least 1\n"


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def test_links_of_the_documentation_lead_somewhere() -> None:
    pages = [DOCS.parent / "README.md", *DOCS.glob("*.md")]
    links = [(page, target) for page in pages for target in re.findall(r"\]\(([\w./-]+)", prose(page))]
    assert len(links) > 5
    missing = [f"{page.name}: {target}" for page, target in links if not (page.parent / target).exists()]
    assert not missing
