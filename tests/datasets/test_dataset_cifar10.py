"""CIFAR-10: the real files, and pickles that ask for more than they should."""

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from small_sets import python2_batch, small_cifar, small_cifar_contents, write

from nasrun.datasets import DatasetError
from nasrun.datasets.cifar10 import Cifar10, unpickle

CONTENTS = small_cifar_contents()
FOLDER = "cifar-10-batches-py"


def test_real_cifar10(shared_data: str) -> None:
    data = Cifar10(root=shared_data)
    splits = data.load()
    assert splits.train.images.shape == (45_000, 3, 32, 32)
    assert (np.bincount(splits.validation.labels) == 500).all()
    assert (np.bincount(splits.test.labels) == 1000).all()
    assert splits.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-3)
    assert splits.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=1e-3)
    assert [splits.classes[label] for label in splits.test.labels[:4]] == ["cat", "ship", "ship", "airplane"]
    assert data.task.channels == 3


def test_small_batches_are_read_in_order(tmp_path: Path) -> None:
    write(tmp_path / FOLDER, CONTENTS, packed=False)
    raw = small_cifar(CONTENTS)(root=str(tmp_path)).read()
    expected = np.random.default_rng(0).integers(0, 256, (40, 3072), dtype=np.uint8)
    assert (raw.training.images[:40].reshape(40, 3072) == expected).all()
    assert raw.training.labels.tolist() == [index % 10 for index in range(40)] * 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (CONTENTS["test_batch"][:-1] + b"!", "wrong content: SHA-256"),
        (CONTENTS["test_batch"][:-9], "truncated: not the 12"),
        (CONTENTS["test_batch"] + b"!", "too long: not the 12"),
    ],
)
def test_other_bytes_are_refused_before_they_are_unpickled(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path / FOLDER, {**CONTENTS, "test_batch": content}, packed=False)
    with pytest.raises(DatasetError, match=f"/test_batch: {message}"):
        small_cifar(CONTENTS)(root=str(tmp_path)).load()


class Attack:
    """Pickled as a call of `os.mkdir`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_a_call_in_it_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    """The table names the checksum of the malicious file, so that nothing but the unpickler stands in its way."""
    attack = pickle.dumps({"data": Attack(tmp_path / "owned"), "labels": []}, protocol=protocol)
    contents = {**CONTENTS, "data_batch_1": attack}
    write(tmp_path / FOLDER, contents, packed=False)
    with pytest.raises(DatasetError, match=r"/data_batch_1: refused: the pickle needs posix.mkdir"):
        small_cifar(contents)(root=str(tmp_path)).load()
    assert not (tmp_path / "owned").exists()
    pickle.loads(attack)  # the attack works where it is let
    assert (tmp_path / "owned").exists()


HUGE = b"(J" + struct.pack("<i", 1 << 30) + b"J" + struct.pack("<i", 1 << 30) + b"t"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"cbuiltins\neval\n(S'1'\ntR.", "needs builtins.eval"),
        (b"\x80\x04\x8c\x05numpy\x94\x8c\x0bndarray.dot\x94\x93.", "needs numpy.ndarray.dot"),
        (b"cnumpy\nload\n(S'x'\ntR.", "needs numpy.load"),
        (b"cnumpy\nndarray\n(" + HUGE + b"tR.", "creates an array in an unknown way"),
        (
            b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n" + HUGE + b"U\x01btR.",
            "creates an array in an unknown way",
        ),
        (python2_batch(np.zeros((1, 8), dtype=np.uint8), [0], b"O8"), "array of type b'O8'"),
        (CONTENTS["test_batch"][:500], "refused: "),
        (b"", "refused: "),
        (bytes(range(256)), "refused: "),
    ],
)
def test_everything_but_byte_arrays_and_containers_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=f"^batch: .*{message}") as error:
        unpickle(content, Path("batch"))
    assert "\n" not in str(error.value)


def test_a_pickle_of_something_else_is_no_batch(tmp_path: Path) -> None:
    for other in (b"\x80\x02](e.", python2_batch(np.zeros((2, 3072), dtype=np.uint8), [0, 1]), b"\x80\x02}."):
        contents = {**CONTENTS, "data_batch_3": other}
        write(tmp_path / FOLDER, contents, packed=False)
        with pytest.raises(DatasetError, match=r"/data_batch_3: not a CIFAR-10 batch"):
            small_cifar(contents)(root=str(tmp_path)).load()
