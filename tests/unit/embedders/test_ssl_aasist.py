"""The encoder inside a checkpoint of SSL_Anti-spoofing as an embedder."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from spoofscope.audit import open_embedder  # noqa: E402
from spoofscope.cards import identity  # noqa: E402
from spoofscope.checks.embedder import check_embedder  # noqa: E402
from spoofscope.embedders import build_embedder  # noqa: E402
from spoofscope.errors import WeightsError  # noqa: E402
from tests.small_ssl import SIZES, published_state  # noqa: E402


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.pth"
    torch.save(published_state(), path)
    return path


def build(path: Path, **options: object) -> object:
    return build_embedder("ssl_aasist.encoder", str(path), heads=SIZES.heads, **options)


def test_it_keeps_the_contract(checkpoint: Path) -> None:
    assert [finding for finding in check_embedder(build(checkpoint)) if not finding.ok] == []


def test_its_layers_are_named_as_those_of_xlsr(checkpoint: Path) -> None:
    embedder = build(checkpoint)
    assert embedder.layers == ("0", "1", "2", "final")
    assert embedder.dim == SIZES.dim and build(checkpoint, pool="mean_std").dim == 2 * SIZES.dim
    assert build(checkpoint, layers=["final"]).layers == ("final",)


def test_the_window_of_the_detector_and_the_normalisation_are_on_record(checkpoint: Path) -> None:
    plain, other = build(checkpoint), build(checkpoint, window="detector", normalise=True)
    assert plain.card.window_s is None and plain.settings["normalise"] is False
    assert round(other.card.window_s * 16_000) == 64_600 and other.settings["normalise"] is True
    assert identity(plain) != identity(other) and identity(plain) == identity(build(checkpoint))


def test_a_detector_and_its_encoder_come_from_one_file(checkpoint: Path) -> None:
    hidden = open_embedder(f"ssl_aasist(weights='{checkpoint}', heads={SIZES.heads})")
    encoder = open_embedder(f"ssl_aasist.encoder:{checkpoint}(heads={SIZES.heads}, layers=['final'])")
    noise = [np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)]
    assert hidden.embed(noise).shape == (1, 1, 160)
    assert encoder.embed(noise).shape == (1, 1, SIZES.dim)
    assert hidden.card.weights_sha256 == encoder.card.weights_sha256


def test_weights_that_are_not_those_published_are_refused_by_a_published_name(checkpoint: Path, monkeypatch) -> None:
    with pytest.raises(WeightsError, match=r"mine\.pth is not a checkpoint of xlsr\.la21"):
        build_embedder("xlsr.la21", weights=str(checkpoint))
    monkeypatch.setattr("spoofscope.embedders.ssl_aasist.XLSR_300M", SIZES)
    for name, digest in (("xlsr.la21", "bd6f36"), ("xlsr.df21", "1cf904")):
        with pytest.raises(WeightsError, match=rf"expected {digest}.*name it: ssl_aasist\.encoder\(weights="):
            build_embedder(name, weights=str(checkpoint))


def test_a_path_that_is_none_is_named() -> None:
    with pytest.raises(WeightsError, match=r"no weights at nowhere\.pth"):
        build_embedder("ssl_aasist.encoder", "nowhere.pth")
