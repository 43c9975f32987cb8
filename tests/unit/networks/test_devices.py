"""Devices that PyTorch computes on: what is none is refused, with or without a graphics processor."""

import pytest

from spoofscope.errors import RecipeError
from spoofscope.networks.devices import checked_device

torch = pytest.importorskip("torch")


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.mark.parametrize(
    "device", ["cuda:x", "cuda:", "cuda:-1", "cuda:1.0", "cuda:0:1", "cuda: 1", "cuda:1\n", "CUDA", "gpu", "mps", ""]
)
@pytest.mark.usefixtures("two_processors")
def test_what_is_no_device_is_refused_though_there_are_processors(device: str) -> None:
    with pytest.raises(RecipeError, match=f"device is '{device}'; it must be cpu, cuda, or cuda and a number, as in cuda:0"):
        checked_device(device)


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:0", "cuda:1"])
@pytest.mark.usefixtures("two_processors")
def test_a_device_that_is_there_is_returned(device: str) -> None:
    assert checked_device(device) == device


@pytest.mark.usefixtures("two_processors")
def test_a_number_beyond_the_last_processor_is_refused_with_their_count() -> None:
    with pytest.raises(RecipeError, match="device is 'cuda:2', but PyTorch finds 2 here, and counts from cuda:0"):
        checked_device("cuda:2")


@pytest.mark.parametrize("device", ["cuda", "cuda:0"])
def test_without_a_graphics_processor_only_the_cpu_is_left(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match=f"device is '{device}', but PyTorch finds no graphics processor here"):
        checked_device(device)
    assert checked_device("cpu") == "cpu"
