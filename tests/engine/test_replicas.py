"""A real engine of two replicas on two processes each (tp 2, dp 2), on the CPU: what one alone does, every one does."""

import asyncio
from typing import Any

import pytest
from engine_place import Place

from arl.engine import session
from arl.engine.client import CompletionGroup, Engine
from arl.engine.connection import Refused
from arl.engine.flags import Replicas
from arl.engine.served_model import ServedModel
from arl.engine.server import start, stop
from arl.errors import ArlError
from arl.policy import Policy
from tests.tiny import PROMPT

pytestmark = [pytest.mark.engine, pytest.mark.slow]

SHORT = {"seeds": range(3), "max_new_tokens": 3}


@pytest.fixture(scope="module")
def replicated(place: Place) -> Any:
    folder = place.folder / "replicated"
    info = start(place.policy, folder, device="cpu", replicas=Replicas(tp=2, dp=2), timeout_s=600)  # five processes
    yield Engine(info)
    stop(folder)


def generate(engine: Engine, clips: list[dict[str, Any]]) -> list[CompletionGroup]:
    async def all_at_once() -> list[CompletionGroup]:
        async with engine:
            return await asyncio.gather(*(engine.generate_group(PROMPT, [clip], **SHORT) for clip in clips))

    return asyncio.run(all_at_once())


def test_a_group_stays_on_one_replica_and_is_what_one_engine_says(
    replicated: Engine, engine: Engine, place: Place
) -> None:
    """Its prompt, with audio by reference, is computed once; equal seeds give equal tokens."""
    assert (replicated.served.tp, replicated.served.dp) == (2, 2)
    for ours, alone in zip(generate(replicated, place.audio[:2]), generate(engine, place.audio[:2]), strict=True):
        assert ours.prefilled_tokens <= ours.prompt_tokens + 3, "a prompt was computed on two replicas"
        assert [h.tokens for h in ours.hypotheses] == [h.tokens for h in alone.hypotheses]
        for one, other in zip(ours.hypotheses, alone.hypotheses, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


def test_a_flush_waits_for_every_replica(replicated: Engine, place: Place) -> None:
    """The idle one answers first; that alone was what the client heard."""
    long = {"sampling_params": {"max_new_tokens": 100, "ignore_eos": True}, "routed_dp_rank": 1}

    async def flush_while_one_works() -> None:
        async with replicated:
            work = asyncio.create_task(replicated._generate(replicated._prompt(PROMPT, place.audio[:1]) | long))
            while not (await replicated.queue()).running:
                await asyncio.sleep(0.05)
            with pytest.raises(Refused, match="Timed out waiting for idle"):
                replicated._connection.call("POST", "/flush_cache?timeout=0.05")
            await work

    asyncio.run(flush_while_one_works())
    replicated.flush_cache()


def test_every_replica_releases_takes_the_weights_and_proves_them(replicated: Engine, place: Place) -> None:
    from transformers import AutoModelForCausalLM

    from arl.train.probe import make_probe

    policy = Policy.open(place.next_policy)
    llm = AutoModelForCausalLM.from_pretrained(policy.llm_dir).eval()
    policy.fields["probe"] = make_probe(llm, policy.audio_token_id)
    replicated.release()
    replicated.wake(ServedModel.of(policy))
    assert replicated.versions() == [policy.version] * 2
    proved = session.prove(replicated, policy, 1e-4)
    policy.fields["probe"]["logprobs"][0] += 1.0
    with pytest.raises(ArlError, match="replica 0 of the engine"):
        session.prove(replicated, policy, 1e-4)
    assert proved["probe_max"] < 1e-4


def test_a_replica_that_cannot_load_is_named(replicated: Engine, place: Place) -> None:
    """Last of all: the engine is unusable then, until a good sync."""
    body = {"model_path": str(place.folder / "nowhere"), "weight_version": "x", "flush_cache": True}
    with pytest.raises(ArlError) as error:
        replicated._connection.call("POST", "/update_weights_from_disk", body)
    assert all(f"replica {index}: Failed to get weights" in str(error.value) for index in range(2))
