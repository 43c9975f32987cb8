"""Settings that every test shares."""

from hypothesis import HealthCheck, settings

settings.register_profile("spoofscope", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spoofscope")
