"""What several files of these tests share."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import torch

from tests.models.speech_lm_case import Case


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    torch.set_num_threads(1)
    yield cache(lambda name: Case(name, tmp_path_factory.mktemp(name.replace(".", ""))))
