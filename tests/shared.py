"""Where the shared audio, weights and reference outputs lie, for the tests that need them."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared"

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared (real audio, weights and reference outputs)")
