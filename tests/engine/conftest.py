"""One real engine for all tests of this folder, started by two starters at once, on a tiny random policy."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # tests/tiny.py

from engine_place import Place, Running, write_embeddings

from arl.engine.client import Engine
from arl.engine.served_model import ServedModel
from arl.engine.server import connect, start, stop
from arl.policy import Policy
from tests.tiny import make_tiny_policy


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("engine")
    policy = make_tiny_policy(folder / "policy", seed=0)
    next_policy = make_tiny_policy(folder / "next", seed=1, step=1)
    return Place(folder, folder / "state", policy, next_policy, write_embeddings(folder / "emb" / "000000.tar"))


@pytest.fixture(scope="session")
def running(place: Place) -> Any:
    with ThreadPoolExecutor(2) as pool:
        started = [pool.submit(start, place.policy, place.state, device="cpu") for _ in range(2)]
        infos = [job.result() for job in started]
    yield Running(Engine(connect(place.state)), infos)
    stop(place.state)


@pytest.fixture
def engine(running: Running, place: Place) -> Engine:
    """The engine, serving the first policy whatever the test before did."""
    policy = Policy.open(place.policy)
    if running.client.version() != policy.version:
        running.client.update_weights(ServedModel.of(policy))
    return running.client
