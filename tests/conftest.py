"""Settings that every test shares, and a run that several of them look at."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("spoofscope", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spoofscope")


@pytest.fixture(scope="session")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that asked every question; not to be changed."""
    from tests.analysed import analysed_run

    return analysed_run(tmp_path_factory.mktemp("analysed"))
