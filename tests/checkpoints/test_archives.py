"""Archives: what goes in comes out, in the same bytes, and nothing else is read."""

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from nasrun.checkpoints.archive import (
    INFO,
    WEIGHTS,
    Archive,
    ArchiveError,
    load,
    read_info,
    read_optimizer,
    read_weights,
    save,
)
from nasrun.core import SearchSpace, Task
from nasrun.spaces.training_recipe.space import TrainingRecipe
from tests.support import with_options

TASK = Task("tiny", 1, 4, 4, 3)


def space() -> SearchSpace:
    return with_options(TrainingRecipe, widths=[5])


def info_of(**changes: Any) -> Archive:
    fields: dict[str, Any] = {"genome": "adam-32-Tanh", "epochs": 4, "hparams": {"optimizer": "adam"}}
    fields |= {"metrics": {"val_accuracy": 0.5}, "history": [{"epoch": 4, "train_loss": 1.25}], "task": TASK}
    fields |= {"section": space().section, "mean": (0.5,), "std": (0.25,), "trial": 7, "seed": 2**62, "parent": 3}
    return Archive(**{**fields, **changes})


def network(text: str = "adam-32-Tanh") -> torch.nn.Module:
    return space().build(space().parse(text), TASK)


def saved(path: Path, **changes: Any) -> torch.nn.Module:
    model = network()
    save(path, info_of(**changes), model.state_dict(), {"1.weight/exp_avg": torch.ones(5, 16)})
    return model.eval()


def test_the_network_comes_back_with_what_is_told_of_it(tmp_path: Path) -> None:
    model = saved(tmp_path / "new" / "a.zip")
    loaded, info = load(tmp_path / "new" / "a.zip")
    images = torch.randint(0, 256, (6, 1, 4, 4), dtype=torch.uint8)
    inputs = info.inputs(images)
    assert torch.allclose(inputs, (images / 255 - 0.5) / 0.25, atol=1e-5)
    assert not loaded.training
    assert torch.equal(loaded(inputs), model(inputs))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.zip"]
    expected = info_of()
    assert (info.genome, info.epochs, info.metrics, info.history) == (
        expected.genome, expected.epochs, expected.metrics, expected.history
    )  # fmt: skip
    assert (info.task, info.trial, info.seed, info.parent) == (TASK, 7, 2**62, 3)
    state = read_optimizer(tmp_path / "new" / "a.zip")
    assert state is not None
    assert torch.equal(state["1.weight/exp_avg"], torch.ones(5, 16))


def test_the_loaded_network_can_be_trained_on(tmp_path: Path) -> None:
    saved(tmp_path / "a.zip")
    model, info = load(tmp_path / "a.zip")
    model(info.inputs(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    model = network()
    for name in ("a", "b"):
        save(tmp_path / f"{name}.zip", info_of(), model.state_dict())
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert read_optimizer(tmp_path / "a.zip") is None


def test_anyone_can_open_it_as_a_zip(tmp_path: Path) -> None:
    saved(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert file.testzip() is None
        assert json.loads(file.read(INFO))["genome"] == "adam-32-Tanh"


def test_a_write_that_fails_leaves_the_old_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "a.zip")
    before = (tmp_path / "a.zip").read_bytes()

    def full(self: zipfile.ZipFile, *arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    with pytest.raises(OSError, match="No space left"):
        saved(tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def rewritten(path: Path, change: Any = None, **options: Any) -> Path:
    """The archive with its members changed: `change` maps the names to contents in place."""
    with zipfile.ZipFile(path) as file:
        members = [(name, file.read(name)) for name in file.namelist()]
    members = change(members) if change is not None else members
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ArchiveError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert len(text.splitlines()) == 1
    return text.removeprefix(f"{path}: ")


def test_path_traversal_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.zip")
    for name in ("../evil.py", "/etc/passwd", "sub/weights.safetensors", "evil\n.py"):
        saved(tmp_path / "a.zip")
        rewritten(tmp_path / "a.zip", lambda members, name=name: [*members[:2], (name, b"x")])
        assert "which is not part of an archive" in refusal(tmp_path / "a.zip")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip"]


def test_zip_bombs_are_refused_unread(tmp_path: Path) -> None:
    saved(tmp_path / "a.zip")
    bomb = rewritten(
        tmp_path / "a.zip",
        lambda members: [members[0], (WEIGHTS, b"0" * 50_000_000)],
        compression=zipfile.ZIP_DEFLATED,
    )
    assert bomb.stat().st_size < 1_000_000
    assert "is compressed" in refusal(bomb)


def test_a_size_that_is_not_there_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.zip")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    place = data.rindex(b"PK\x01\x02", 0, data.rindex(b"PK\x01\x02"))
    data[place + 20 : place + 28] = (2**31).to_bytes(4, "little") * 2
    (tmp_path / "a.zip").write_bytes(data)
    assert "claims to have 2,147,483,648 bytes" in refusal(tmp_path / "a.zip")


def test_too_many_and_doubled_files_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.zip")
    rewritten(tmp_path / "a.zip", lambda members: [*members, ("x", b"")])
    assert "it has 4 files" in refusal(tmp_path / "a.zip")
    saved(tmp_path / "a.zip")
    with pytest.warns(UserWarning, match="Duplicate name"):
        rewritten(tmp_path / "a.zip", lambda members: [members[0], members[0]])
    assert "a file twice" in refusal(tmp_path / "a.zip")


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("evil"),))


def test_pickles_are_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "a.zip")
    rewritten(tmp_path / "a.zip", lambda members: [members[0], (WEIGHTS, pickle.dumps(Evil()))])
    assert WEIGHTS in refusal(tmp_path / "a.zip")
    torch.save(Evil(), tmp_path / "b.zip")
    assert "refused" in refusal(tmp_path / "b.zip")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "target", ["os.system", "nasrun.spaces.mlp.space.check_section", "nasrun.cli.main.main", "evil.Space", 5]
)
def test_only_nasruns_own_spaces_are_made(tmp_path: Path, target: Any) -> None:
    saved(tmp_path / "a.zip", section={"_target_": target})
    assert "_target_=" in refusal(tmp_path / "a.zip")


def test_a_space_that_reads_a_directory_is_refused(tmp_path: Path) -> None:
    assert space().section is not None
    saved(tmp_path / "a.zip", section={**space().section, "model": "genome", "run": "/etc"})  # type: ignore[dict-item]
    assert "needs a directory" in refusal(tmp_path / "a.zip")


def test_a_space_of_ones_own_is_given(tmp_path: Path) -> None:
    model = saved(tmp_path / "a.zip", section=None)
    assert "without its search space" in refusal(tmp_path / "a.zip")
    loaded, info = load(tmp_path / "a.zip", space())
    images = info.inputs(torch.ones(2, 1, 4, 4, dtype=torch.uint8))
    assert torch.equal(loaded(images), model(images))


def test_weights_of_another_network_are_refused_before_memory_is_taken(tmp_path: Path) -> None:
    assert space().section is not None
    saved(tmp_path / "a.zip", section={**space().section, "widths": [10**12]})  # type: ignore[dict-item]
    assert "weights 1.bias" in refusal(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"genome": "adam-32-Evil"}, "character 9"),
        ({"genome": 5}, "genome is not of type str"),
        ({"format": 2}, "another version"),
        ({"task": {"name": "x"}}, "TypeError"),
        ({"task": {**vars(TASK), "height": "4"}}, "not integers"),
        ({"strange": 1}, "strange"),
        ({"epochs": None}, "epochs is not of type int"),
    ],
)
def test_what_is_told_wrongly_is_refused(tmp_path: Path, change: dict[str, Any], text: str) -> None:
    saved(tmp_path / "a.zip")

    def changed(members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        return [(INFO, json.dumps({**json.loads(members[0][1]), **change}).encode()), *members[1:]]

    assert text in refusal(rewritten(tmp_path / "a.zip", changed))


def test_damage_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.zip")
    whole = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[: len(whole) // 2])
    assert "not an archive of nasrun" in refusal(tmp_path / "a.zip")
    flipped = bytearray(whole)
    flipped[whole.index(b"weights.safetensors") + 200] ^= 1
    (tmp_path / "a.zip").write_bytes(flipped)
    assert "is damaged" in refusal(tmp_path / "a.zip")
    (tmp_path / "a.zip").write_bytes(b"")
    assert "not an archive of nasrun" in refusal(tmp_path / "a.zip")
    rewritten_info = io.BytesIO()
    with zipfile.ZipFile(rewritten_info, "w") as file:
        file.writestr(INFO, "[" * 100_000)
    (tmp_path / "a.zip").write_bytes(rewritten_info.getvalue())
    assert INFO in refusal(tmp_path / "a.zip")


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    for read in (load, read_info, read_weights, read_optimizer):
        with pytest.raises(FileNotFoundError, match=r"none\.zip"):
            read(tmp_path / "none.zip")  # type: ignore[operator]
