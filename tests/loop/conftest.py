"""The folder of an engine that a test may start."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from arl.engine import server


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "engine"
    server.stop(tmp_path / "engine")
