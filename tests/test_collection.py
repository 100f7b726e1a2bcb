"""Collecting tests imports no heavy package: a test module imports those in its functions and fixtures, torch apart."""


def test_collecting_imports_nothing_heavy(imported_at_collection: list[str]) -> None:
    assert imported_at_collection == []
