"""Generation by a real engine: exact log-probabilities, one prefill per group, repeatable seeds."""

import asyncio
from typing import Any

import pytest
import torch
from engine_place import Place, hugging_face_logprobs

from arl.engine.client import CompletionGroup, Engine
from arl.engine.served_model import ServedModel
from arl.policy import Policy
from tests.tiny import EOS, PROMPT

pytestmark = pytest.mark.engine


def generate(engine: Engine, *requests: dict[str, Any]) -> list[CompletionGroup]:
    async def all_at_once() -> list[CompletionGroup]:
        async with engine:
            return await asyncio.gather(*(engine.generate_group(PROMPT, **request) for request in requests))

    return asyncio.run(all_at_once())


def tokens_of(group: CompletionGroup) -> list[list[int]]:
    return [hypothesis.tokens for hypothesis in group.hypotheses]


def worst_difference(place: Place, llm_dir: Any, clip: dict, group: CompletionGroup, temperature: float = 1.0) -> float:
    return max(
        (torch.tensor(h.logprobs) - hugging_face_logprobs(llm_dir, PROMPT, [clip], h.tokens, temperature)).abs().max()
        for h in group.hypotheses
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_those_of_transformers(engine: Engine, place: Place, temperature: float) -> None:
    requests = [{"audio": [clip], "seeds": range(3), "temperature": temperature} for clip in place.audio[:4]]
    groups = generate(engine, *({**request, "max_new_tokens": 24} for request in requests))
    for clip, group in zip(place.audio, groups, strict=False):
        assert worst_difference(place, place.policy / "llm", clip, group, temperature) < 1e-4


def test_log_probs_follow_a_weight_update(engine: Engine, place: Place) -> None:
    clip, policy = place.audio[0], Policy.open(place.next_policy)
    (before,) = generate(engine, {"audio": [clip], "seeds": range(3), "max_new_tokens": 24})
    engine.update_weights(ServedModel.of(policy))
    assert engine.version() == policy.version
    (after,) = generate(engine, {"audio": [clip], "seeds": range(3), "max_new_tokens": 24})
    assert tokens_of(before) != tokens_of(after)
    assert worst_difference(place, policy.llm_dir, clip, after) < 1e-4
    assert after.prefilled_tokens >= after.prompt_tokens, "the cache of the old weights was used"


def test_a_hypothesis_ends_with_the_stop_token_or_at_the_limit(engine: Engine, place: Place) -> None:
    groups = generate(engine, *({"audio": [clip], "seeds": range(8), "max_new_tokens": 30} for clip in place.audio))
    hypotheses = [hypothesis for group in groups for hypothesis in group.hypotheses]
    assert {hypothesis.finish for hypothesis in hypotheses} == {"stop", "length"}
    for hypothesis in hypotheses:
        assert len(hypothesis.tokens) == len(hypothesis.logprobs)
        assert EOS not in hypothesis.tokens[:-1]
        assert (hypothesis.tokens[-1] == EOS) == (hypothesis.finish == "stop")
        assert hypothesis.finish == "stop" or len(hypothesis.tokens) == 30


def test_the_prompt_of_a_group_is_computed_once(engine: Engine, place: Place) -> None:
    engine.flush_cache()
    before = engine.metrics().prefilled_tokens
    groups = generate(engine, *({"audio": [clip], "seeds": range(12), "max_new_tokens": 4} for clip in place.audio))
    prompts = sum(clip["shape"][0] + len(PROMPT) - 1 for clip in place.audio)
    assert sum(group.prompt_tokens for group in groups) == prompts
    # Every hypothesis computes the last prompt token anew; the first token is shared by all utterances.
    assert engine.metrics().prefilled_tokens - before <= prompts + 12 * len(groups)
    for group in groups:
        assert all(hyp.cached_tokens == group.prompt_tokens - 1 for hyp in group.hypotheses)


def test_seeds_repeat_in_any_company(engine: Engine, place: Place) -> None:
    request = {"audio": [place.audio[0]], "seeds": [7, 8, 9, 7], "max_new_tokens": 30}
    (alone,) = generate(engine, request)
    engine.flush_cache()
    others = [{"audio": [clip], "seeds": range(6), "max_new_tokens": 30} for clip in place.audio[1:]]
    filtered = {"audio": [place.audio[2]], "seeds": [1, 2], "top_p": 0.5, "max_new_tokens": 30}
    greedy = {"audio": [place.audio[3]], "greedy": True, "max_new_tokens": 30}
    crowd = generate(engine, request, *others, filtered, greedy)
    assert tokens_of(alone) == tokens_of(crowd[0])
    assert alone.hypotheses[0].tokens == alone.hypotheses[3].tokens
    assert len({tuple(tokens) for tokens in tokens_of(alone)}) == 3


def test_greedy_takes_the_most_likely_token(engine: Engine, place: Place) -> None:
    request = {"audio": [place.audio[2]], "max_new_tokens": 20}
    group, of_one = generate(engine, request | {"greedy": True}, request | {"seeds": [5, 6], "top_k": 1})
    (chosen,) = group.hypotheses
    assert [hyp.tokens for hyp in of_one.hypotheses] == [chosen.tokens] * 2
    for end in range(len(chosen.tokens)):
        logprob = hugging_face_logprobs(place.policy / "llm", PROMPT, [place.audio[2]], chosen.tokens[: end + 1])[-1]
        for rival in range(0, 40, 7):
            path = [*chosen.tokens[:end], rival]
            rival_logprob = hugging_face_logprobs(place.policy / "llm", PROMPT, [place.audio[2]], path)[-1]
            assert rival_logprob <= logprob + 1e-5
        assert chosen.logprobs[end] == pytest.approx(float(logprob), abs=1e-4)


def test_scores_given_tokens_with_audio_and_without(engine: Engine, place: Place) -> None:
    tokens, clips = [6, 7, 39, 8, EOS], [place.audio[1], place.audio[2]]
    prompt = [*PROMPT, 9, *PROMPT]

    async def both() -> tuple[list[float], list[float]]:
        async with engine:
            return await engine.score(prompt, clips, tokens), await engine.score([6], [], tokens)

    with_audio, text = asyncio.run(both())
    assert torch.tensor(with_audio).allclose(
        hugging_face_logprobs(place.policy / "llm", prompt, clips, tokens), atol=1e-4
    )
    assert torch.tensor(text).allclose(hugging_face_logprobs(place.policy / "llm", [6], [], tokens), atol=1e-4)
