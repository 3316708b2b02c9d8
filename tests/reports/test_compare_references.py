"""The citations of the paragraph on methods: all are there, and BibTeX has nothing to complain of."""

import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from nasrun.config.sections import option_names
from nasrun.reports.compare.methods import CITED
from nasrun.tables import SHIPPED

TEXT = (files("nasrun.reports.compare") / "references.bib").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^@(?:article|inproceedings|techreport)\{(\w+), (.*)\}$", TEXT, flags=re.MULTILINE))


def test_every_option_that_is_cited_exists_and_has_its_entry() -> None:
    assert len(ENTRIES) == len([line for line in TEXT.splitlines() if line]), "an entry a line, no key twice"
    for group, cited in CITED.items():
        known = [kind.name for kind in SHIPPED] if group == "table" else option_names(group)
        assert set(cited) <= set(known), group
        assert set(cited.values()) <= set(ENTRIES), group
    for key, fields in ENTRIES.items():
        (year,) = re.findall(r"year = \{(\d{4})\}", fields)
        assert year in key or not re.search(r"\d", key), f"{key}: a key with another year"
        assert re.search(r"(journal|booktitle|institution) = \{", fields), key
        assert fields.count("{") == fields.count("}"), key


@pytest.mark.skipif(shutil.which("bibtex") is None, reason="bibtex is not installed (Debian: texlive-binaries)")
def test_bibtex_takes_all_entries(tmp_path: Path) -> None:
    (tmp_path / "references.bib").write_text(TEXT, encoding="utf-8")
    (tmp_path / "a.aux").write_text("\\relax\n\\citation{*}\n\\bibstyle{plain}\n\\bibdata{references}\n")
    done = subprocess.run(["bibtex", "a"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "warning" in done.stdout.lower()) == (0, False), done.stdout
    assert (tmp_path / "a.bbl").read_text().count("\\bibitem") == len(ENTRIES)
