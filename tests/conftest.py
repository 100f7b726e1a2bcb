"""What collecting the tests has imported, for tests/test_collection.py: a part of the tests starts in seconds. And
hypothesis without deadlines: on busy cores a property of 2 ms took 317, which says nothing of the property.
"""

import sys

import hypothesis
import pytest

hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

HEAVY = ("transformers", "sglang", "torchaudio", "torch._dynamo", "scipy.stats", "matplotlib", "inflect")
collected = pytest.StashKey[list[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    session.config.stash[collected] = [name for name in HEAVY if name in sys.modules]


@pytest.fixture
def imported_at_collection(pytestconfig: pytest.Config) -> list[str]:
    """The heavy packages that were imported when all test modules had been."""
    return pytestconfig.stash[collected]
