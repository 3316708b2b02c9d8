"""The config of a run directory is read by a fast parser: as OmegaConf reads it, and as data alone."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from nasrun.core.options import ConfigError
from nasrun.storage.stored_config import read_stored

TOLD = """
1 1.0 1e-3 1E5 -1e-05 +1.5e+3 1.e4 .5 .5e3 -.5e-3 1_000 1_000.5 1__0e3 1_e3 0x1F 0o17 017 1:30 1:30.5 .inf
-.inf true yes off ~ null Null 2026-11-29 2026-11-29T10:00:00 '1e-3' abc a:b http://x/y ${a.b} 1e3x 12e e5
._5e3 . - 5. 1e--3 [1e-3,a] {x:1e4} {"x":1e4} 0b11 00e1 ''
"""


@pytest.mark.parametrize("value", TOLD.split())
def test_a_value_is_what_omegaconf_makes_of_it(tmp_path: Path, value: str) -> None:
    text = f"key: {value}\nother: 1\n"
    (tmp_path / "config.yaml").write_text(text)
    try:
        expected = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (OmegaConfBaseException, YAMLError):
        expected = None
    found = None
    if expected is None:
        with pytest.raises(ConfigError):
            read_stored(tmp_path / "config.yaml")
    else:
        found = OmegaConf.to_container(read_stored(tmp_path / "config.yaml"), resolve=False)
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: 1\na: 2", "duplicate key a|while constructing a mapping"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("a:\n b: c: d", "mapping values are not allowed"),
        ("a: &x 1\nb: *x", "references"),
        ("- 1\n- 2", "not a mapping"),
        ("1", "cannot be read"),
        ("[" * 60 + "]" * 60, "nested more than"),
    ],
)
def test_what_is_no_config_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=reason) as caught:
        read_stored(tmp_path / "config.yaml")
    assert len(str(caught.value).splitlines()) == 1
