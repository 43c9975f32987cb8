"""Weight files: the same weights are the same file, and nothing damaged is used."""

import hashlib

import numpy as np
import pytest
from safetensors.numpy import save_file

from spoofscope.detectors._trained import Trained, checked, load_trained
from spoofscope.errors import WeightsError

TRAINED = Trained("toy", {"a": np.arange(3, dtype=np.float32), "b": np.eye(2, dtype=np.float32)}, {"trials": "t", "seed": 1})


def test_what_is_saved_comes_back(tmp_path):
    digest = TRAINED.save(tmp_path / "deep" / "w.safetensors")
    loaded, found = load_trained(tmp_path / "deep" / "w.safetensors", "toy", sha256=digest)
    assert found == digest
    assert loaded.history == TRAINED.history
    assert sorted(loaded.tensors) == ["a", "b"]
    np.testing.assert_array_equal(loaded.tensors["b"], np.eye(2))


def test_the_same_weights_are_the_same_bytes_whatever_their_order(tmp_path):
    turned = Trained("toy", dict(reversed(TRAINED.tensors.items())), dict(reversed(TRAINED.history.items())))
    assert TRAINED.save(tmp_path / "one") == turned.save(tmp_path / "two")
    assert hashlib.sha256((tmp_path / "one").read_bytes()).hexdigest() == TRAINED.save(tmp_path / "one")


def test_a_tensor_that_lies_in_another_order_in_memory_comes_back_the_same(tmp_path):
    values = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    Trained("toy", {"a": values.transpose(2, 0, 1), "b": np.asfortranarray(values)}, {}).save(tmp_path / "w")
    tensors = load_trained(tmp_path / "w", "toy")[0].tensors
    np.testing.assert_array_equal(tensors["a"], values.transpose(2, 0, 1))
    np.testing.assert_array_equal(tensors["b"], values)


def test_nothing_is_left_beside_the_file(tmp_path):
    TRAINED.save(tmp_path / "w")
    assert [file.name for file in tmp_path.iterdir()] == ["w"]


def test_one_changed_byte_is_noticed(tmp_path):
    digest = TRAINED.save(tmp_path / "w")
    content = bytearray((tmp_path / "w").read_bytes())
    content[-1] ^= 1
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError, match="damaged or was replaced"):
        load_trained(tmp_path / "w", "toy", sha256=digest)


@pytest.mark.parametrize("content", [b"", b"not a safetensors file at all"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(WeightsError, match="does not hold weights written by 'spoofscope train'"):
        load_trained(tmp_path / "w", "toy")


def test_safetensors_from_elsewhere_are_refused(tmp_path):
    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "w")
    with pytest.raises(WeightsError, match="does not hold weights written by 'spoofscope train'"):
        load_trained(tmp_path / "w", "toy")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [({"c": (3,)}, "have no 'c'; they have a, b"), ({"a": (4,)}, "'a' is"), ({"a": (3, 1)}, "'a' is")],
)
def test_a_tensor_that_is_missing_or_misshapen_is_named(shapes, message):
    with pytest.raises(WeightsError, match=message):
        checked(TRAINED, shapes)


def test_a_tensor_that_is_not_finite_is_named():
    with pytest.raises(WeightsError, match="of finite numbers"):
        checked(Trained("toy", {"a": np.array([np.nan], np.float32)}, {}), {"a": (1,)})
