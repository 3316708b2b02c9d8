"""Arrays in memory that several processes map."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from nasrun.datasets import Splits
from nasrun.hardware.shared_memory import ALIGNMENT, SharedObject
from tests.hardware.trouble import descriptors, shared_files
from tests.support import fingerprint, setup_of


@pytest.fixture
def splits() -> Splits:
    return setup_of("dataset.samples=100").dataset.load()


def same(one: Splits, other: Splits) -> bool:
    pairs = zip((one.train, one.validation, one.test), (other.train, other.validation, other.test), strict=True)
    equal = all(
        a.dtype == b.dtype and np.array_equal(a, b) for x, y in pairs for a, b in zip(x.arrays, y.arrays, strict=True)
    )
    return equal and (one.mean, one.std, one.classes) == (other.mean, other.std, other.classes)


def test_an_object_comes_back_as_views(splits: Splits) -> None:
    memory = SharedObject()
    held = memory.put(splits)
    assert same(held, splits)
    for array in held.train.arrays + held.test.arrays:
        assert not array.flags.owndata
        assert array.ctypes.data % ALIGNMENT == 0
    assert os.fstat(memory.descriptor).st_size >= sum(array.nbytes for array in splits.train.arrays)
    assert same(memory.load(), splits)
    memory.close()
    assert same(held, splits)


def test_what_is_written_stays_private(splits: Splits) -> None:
    memory = SharedObject()
    memory.put(splits)
    memory.load().train.images[:] = 0
    assert same(memory.load(), splits)


def test_another_process_maps_it(splits: Splits) -> None:
    memory = SharedObject()
    memory.put(splits)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        other = pickle.loads(pickle.dumps(memory)).load()
        os.write(writing, b"y" if same(other, splits) else b"n")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1) == b"y"
    os.close(reading)
    os.close(writing)


def test_nothing_has_a_name_or_stays(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    for without in (False, True):
        if without:
            monkeypatch.delattr(os, "memfd_create")
        before, files = descriptors(), shared_files()
        memory = SharedObject()
        held = memory.put(splits)
        link = Path(f"/proc/self/fd/{memory.descriptor}").readlink()
        assert str(link).endswith("(deleted)"), "memory with a name would outlive a killed process"
        assert same(held, splits)
        with pytest.raises(RuntimeError, match="holds an object already"):
            memory.put(splits)
        del held, memory
        assert descriptors() == before
        assert shared_files() <= files


def test_arrays_that_are_not_contiguous_and_none_at_all() -> None:
    array = np.arange(24).reshape(4, 6)[:, ::2]
    for content in ([array], {"text": 3}):
        held = SharedObject().put(content)
        assert repr(held) == repr(content)


def test_the_data_of_a_run_with_workers_lie_in_it() -> None:
    setup = setup_of("hardware.workers=2")
    alone = setup_of()
    assert alone.memory is None
    assert setup.memory is not None
    assert setup.memory.descriptor < 0, "nothing is loaded yet"
    assert same(setup.dataset.load(), alone.dataset.load())
    assert setup.memory.descriptor >= 0
    assert fingerprint(setup.dataset) == fingerprint(alone.dataset)
    copy = pickle.loads(pickle.dumps(setup.dataset))
    assert same(copy.load(), alone.dataset.load())
