"""What the package offers is what it says it offers."""

import spoofscope


def test_public_names_are_sorted_and_load() -> None:
    assert spoofscope.__all__ == sorted(spoofscope.__all__)
    assert all(getattr(spoofscope, name).__doc__ for name in spoofscope.__all__)


def test_there_is_nothing_else_to_find() -> None:
    assert dir(spoofscope) == spoofscope.__all__
    assert set(spoofscope._HOMES) == set(spoofscope.__all__)
