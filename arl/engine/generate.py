"""Prompts → groups of hypotheses: the requests of a shard, all in flight at once."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from arl.engine.client import Completion, CompletionGroup, Engine, GroupFailed
from arl.engine.queue import watched
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.runtime.console import Progress
from arl.shards import columns
from arl.shards.reader import Sample
from arl.shards.rows import Hypothesis, Prompt, Rollout, failed_to_encode
from arl.text.transcript import transcript


def hypothesis_seeds(seed: int, key: str, group: int) -> list[int]:
    """One 31-bit seed per hypothesis from the stage's seed and the utterance's key: the same in any batch and order."""
    digests = (hashlib.sha256(f"{seed}/{key}/{index}".encode()).digest() for index in range(group))
    return [int.from_bytes(digest[:4], "little") >> 1 for digest in digests]


def generate(
    client: Engine, policy: Policy, samples: Sequence[Sample], group: int, sampling: dict[str, Any], seed: int,
    budget: FailureBudget, bar: Progress, done: Callable[[Sample, CompletionGroup | None], None] | None = None,
) -> list[CompletionGroup | None]:  # fmt: skip
    """The group of each sample, all in flight at once; None for a sample whose requests failed twice, and, without a
    request, for one that `arl encode` has counted as failed.

    done: called with each sample and its group in the samples' order, as soon as that group and all before it are
    there, while the engine works on the rest. Temperature 0 is greedy decoding: one hypothesis, whatever `group` says.
    """
    greedy, longest = sampling["temperature"] == 0, sampling["max_new_tokens"]

    results: dict[int, CompletionGroup | None] = {}
    handed_out = 0

    async def answered(index: int) -> None:
        nonlocal handed_out
        results[index] = await one(samples[index])
        while done is not None and handed_out in results:
            done(samples[handed_out], results[handed_out])
            handed_out += 1

    async def one(sample: Sample) -> CompletionGroup | None:
        seeds = hypothesis_seeds(seed, sample.key, group)
        try:
            if failed_to_encode(sample):
                return None
            prompt = Prompt.of(sample)
            kinds = [columns.EMB] if columns.EMB in sample.members or not policy.is_tts else []
            audio = [columns.tensor_reference(sample, kind, columns.EMB_TENSOR) for kind in kinds]
            own = sampling | {"max_new_tokens": min(longest, prompt.max_new_tokens or longest)}
            return await client.generate_group(prompt.input_ids, audio, seeds=seeds, greedy=greedy, **own)
        except GroupFailed as error:
            budget.spend(f"{sample.key}: {error}")
            return None
        finally:
            bar.advance()

    async def everything() -> None:
        async with client, watched(client.queue, client.metrics()):
            await asyncio.gather(*map(answered, range(len(samples))))

    asyncio.run(everything())
    return [results[index] for index in range(len(samples))]


def text_of(tokens: list[int], tokenizer: Any, policy: Policy) -> str:
    """The transcript in what was generated, by the policy's rule; the tokens [R] stay what was sampled."""
    return transcript(tokenizer.decode(tokens, skip_special_tokens=True), policy.fields.get("transcript", {}))


def rollout_member(
    completions: Sequence[Completion], tokenizer: Any, policy: Policy, temperature: float
) -> dict[str, bytes]:
    """The `.rollout.json` of one utterance."""
    hyps = [
        Hypothesis(
            text_of(one.tokens, tokenizer, policy),
            one.tokens,
            [round(value, 7) for value in one.logprobs],
            one.finish,
            one.residual,
        )
        for one in completions
    ]
    return Rollout(policy.version, temperature, hyps).members()


def figures(groups: list[CompletionGroup], seconds: float) -> dict[str, Any]:
    """The engine's own counts for a shard; prefilled: prompt tokens computed, about one prompt per group."""
    hyps = [hyp for group in groups for hyp in group.hypotheses]
    generated = sum(len(hyp.tokens) for hyp in hyps)
    return {
        "groups": len(groups),
        "hypotheses": len(hyps),
        "generated_tokens": generated,
        "prompt_tokens": sum(group.prompt_tokens for group in groups),
        "prefilled_tokens": sum(group.prefilled_tokens for group in groups),
        "truncated": sum(hyp.finish == "length" for hyp in hyps),
        "length_mean": round(generated / max(1, len(hyps)), 3),
        "tokens_per_s": round(generated / max(seconds, 1e-9), 1),
    }


def audio_seconds(samples: Sequence[Sample], policy: Policy) -> float:
    """Seconds of audio behind the embeddings, by their length and the frontend's rate."""
    rate = policy.fields.get("embedding_rate_hz")
    if not rate:
        return 0.0
    encoded = [sample for sample in samples if not failed_to_encode(sample)]
    clips = (columns.tensor_reference(sample, columns.EMB, columns.EMB_TENSOR) for sample in encoded)
    return sum(clip["shape"][0] for clip in clips) / rate
