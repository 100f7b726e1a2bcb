"""What collecting the tests has imported, for tests/test_collection.py: a part of the tests starts in seconds."""

import sys

import pytest

HEAVY = ("transformers", "sglang", "torchaudio", "torch._dynamo", "scipy.stats", "matplotlib", "inflect")
collected = pytest.StashKey[list[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[collected] = [name for name in HEAVY if name in sys.modules]


@pytest.fixture
def imported_at_collection(pytestconfig: pytest.Config) -> list[str]:
    """The heavy packages that were imported when all test modules had been."""
    return pytestconfig.stash[collected]
