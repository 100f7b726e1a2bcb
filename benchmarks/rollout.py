"""c: the rollout against transformers' generate, and against the engine fed plain input_embeds.

    python -m benchmarks.rollout [--quick]

Prompts of P positions, of which a clip of P - 2 audio embeddings; G responses of exactly R tokens, sampled at
temperature 1; all prompts at once. transformers: `generate` from input embeddings, G samples a prompt, in batches of 8
prompts, float32. Plain input_embeds: SGLang's own way to take embeddings, as JSON numbers, one request of n = G samples
a prompt, without prefix sharing (its prefix cache cannot key on them); it computes in bfloat16, so ours is timed in
bfloat16 as well. CPU seconds are the client's and all engine processes'; starting an engine and loading weights are
not counted.
"""

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure
from benchmarks.command import Result, main, number, scratch, table, with_spread
from benchmarks.models import LARGER, PROMPT_TEXT, SMALL, Shape, make_policy

HF_BATCH = 8  # prompts


@dataclass(frozen=True)
class Sizes:
    """Utterances, positions of a prompt, responses of a prompt and their tokens."""

    n: int
    prompt: int
    group: int
    response: int

    @property
    def generated(self) -> int:
        return self.n * self.group * self.response


def measure_all(quick: bool) -> Result:
    import torch

    torch.set_num_threads(int(os.environ.get("ARL_THREADS", "1")))
    if quick:
        return {"models": [measure_shape(SMALL, Sizes(4, 256, 12, 8), 1, plain=False)], "targets": []}
    return {
        "models": [
            measure_shape(SMALL, Sizes(32, 256, 12, 24), 3, plain=True),
            measure_shape(LARGER, Sizes(16, 256, 12, 24), 3, plain=False),
        ],
        "targets": [],
    }


def measure_shape(shape: Shape, sizes: Sizes, repeats: int, plain: bool) -> Result:
    """One model: ours against transformers, and with `plain` ours against plain input_embeds."""
    result: Result = {"model": shape.name, "words": shape.words(), "sizes": sizes.__dict__, "pairs": {}}
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="rollout-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        clips = write_clips(folder / "emb" / "000000.tar", shape, sizes)
        policy = make_policy(folder / "float32", shape)
        engine = running(stack, policy, folder / "engine-32")
        pairs = {"transformers generate": (generate_hf(policy, clips, sizes), groups(engine, clips, sizes))}
        if plain:
            half = make_policy(folder / "bfloat16", shape, dtype="bfloat16")
            unshared = running(stack, half, folder / "engine-plain", "--disable-radix-cache")
            sharing = running(stack, half, folder / "engine-16")
            pairs["plain input_embeds"] = (input_embeds(unshared, half, clips, sizes), groups(sharing, clips, sizes))
        for name, (theirs, ours) in pairs.items():
            for warm_up in (theirs, ours):
                warm_up()
            turns = measure.interleaved({"theirs": theirs, "ours": ours}, repeats)
            result["pairs"][name] = {
                "cpu": measure.ratios(turns, "theirs", "ours", "cpu_s"),
                "wall": measure.ratios(turns, "theirs", "ours", "wall_s"),
                "seconds": {
                    side: {k: measure.column(turns, side, k) for k in turns[0][side]} for side in ("theirs", "ours")
                },
            }
    return result


def write_clips(path: Path, shape: Shape, sizes: Sizes) -> list[dict[str, Any]]:
    """A shard of random embeddings [P - 2, H], and a reference to each."""
    import torch

    from arl.shards import columns
    from arl.shards.reader import read_shard
    from arl.shards.writer import write_shard

    generator = torch.Generator().manual_seed(0)
    rows = []
    for index in range(sizes.n):
        clip = 0.02 * torch.randn(sizes.prompt - PROMPT_TEXT, shape.hidden, generator=generator)
        rows.append((f"utt-{index}", {columns.EMB: columns.save_tensor(columns.EMB_TENSOR, clip)}))
    write_shard(path, rows)
    return [columns.tensor_reference(sample, columns.EMB, columns.EMB_TENSOR) for sample in read_shard(path)]


def running(stack: ExitStack, policy: Path, state: Path, *extra: str) -> Any:
    """A client of an engine on this policy, ended with the stack."""
    from arl.engine import server
    from arl.engine.client import Engine

    info = server.start(policy, state, device="cpu", extra=extra)
    stack.callback(server.stop, state)
    return Engine(info)


def groups(engine: Any, clips: Sequence[dict[str, Any]], sizes: Sizes) -> Callable[[], measure.Figures]:
    """Ours: one group of requests per utterance, the clip by reference, the prompt computed once."""
    from arl.engine.generate import hypothesis_seeds

    prompt = [1, engine.served.audio_token_id, 2]

    async def everything() -> None:
        async with engine:
            answers = await asyncio.gather(*(
                engine.generate_group(
                    prompt, [clip], seeds=hypothesis_seeds(0, str(index), sizes.group), max_new_tokens=sizes.response
                )
                for index, clip in enumerate(clips)
            ))  # fmt: skip
        check_count(sum(len(hyp.tokens) for group in answers for hyp in group.hypotheses), sizes)

    def side() -> measure.Figures:
        engine.flush_cache()
        return per_second(measure.timed(lambda: asyncio.run(everything()), engine.served.pgid), sizes)

    return side


def generate_hf(policy: Path, clips: Sequence[dict[str, Any]], sizes: Sizes) -> Callable[[], measure.Figures]:
    """transformers: `generate` of G samples from the same embeddings."""
    import torch

    from arl.train.load import load_llm

    model = load_llm(policy / "llm", torch.device("cpu"))
    model.set_attn_implementation("sdpa")
    embeds = embed(model, clips)

    def everything() -> None:
        generated = 0
        for start in range(0, len(embeds), HF_BATCH):
            batch = torch.stack(embeds[start : start + HF_BATCH])
            tokens = model.generate(
                inputs_embeds=batch, attention_mask=torch.ones(batch.shape[:2], dtype=torch.long),
                do_sample=True, temperature=1.0, top_k=0, top_p=1.0, num_return_sequences=sizes.group,
                min_new_tokens=sizes.response, max_new_tokens=sizes.response, pad_token_id=0, eos_token_id=None,
            )  # fmt: skip
            generated += tokens.numel()
        check_count(generated, sizes)

    return lambda: per_second(measure.timed(everything), sizes)


def embed(model: Any, clips: Sequence[dict[str, Any]]) -> list[Any]:
    """Per utterance the prompt's embeddings [P, H], in the model's dtype."""
    import torch

    table = model.get_input_embeddings().weight.detach()
    prompts = []
    for clip in clips:
        frames, width = clip["shape"]
        with open(clip["path"], "rb") as shard:
            shard.seek(clip["offset"])
            raw = torch.frombuffer(bytearray(shard.read(4 * frames * width)), dtype=torch.float32)
        prompts.append(torch.cat([table[1:2], raw.view(frames, width).to(table), table[2:3]]))
    return prompts


def input_embeds(
    engine: Any, policy: Path, clips: Sequence[dict[str, Any]], sizes: Sizes
) -> Callable[[], measure.Figures]:
    """SGLang's own input_embeds: the numbers as JSON, one request of n = G samples per utterance."""
    import httpx
    import torch

    from arl.train.load import load_llm

    embeds = [prompt.float().tolist() for prompt in embed(load_llm(policy / "llm", torch.device("cpu")), clips)]
    sampling = {"max_new_tokens": sizes.response, "temperature": 1.0, "ignore_eos": True, "n": sizes.group}
    headers = {"Authorization": f"Bearer {engine.served.api_key}"}

    async def everything() -> None:
        async with httpx.AsyncClient(base_url=engine.served.url, headers=headers, timeout=1800) as client:

            async def one(prompt: list[list[float]]) -> int:
                body = {"input_embeds": prompt, "sampling_params": sampling}
                answer = await client.post("/generate", json=body)
                answer.raise_for_status()
                return sum(len(sample["output_ids"]) for sample in answer.json())

            check_count(sum(await asyncio.gather(*map(one, embeds))), sizes)

    return lambda: per_second(measure.timed(lambda: asyncio.run(everything()), engine.served.pgid), sizes)


def check_count(generated: int, sizes: Sizes) -> None:
    if generated != sizes.generated:
        raise RuntimeError(f"{generated} tokens were generated, not {sizes.generated}: the sides are not comparable")


def per_second(figures: measure.Figures, sizes: Sizes) -> measure.Figures:
    return figures | {"tokens_per_s": sizes.generated / figures["wall_s"]}


def page(result: Result) -> str:
    parts = ["## c: rollout", __doc__.split("\n\n")[2].strip()]
    head = ["against", "CPU theirs, s", "CPU ours, s", "CPU ratio", "wall ratio", "tokens/s theirs", "tokens/s ours"]
    for model in result["models"]:
        s = model["sizes"]
        rows = [
            [name, *(number(pair["seconds"][side]["cpu_s"]["median"]) for side in ("theirs", "ours")),
             with_spread(pair["cpu"], "x"), with_spread(pair["wall"], "x"),
             *(number(pair["seconds"][side]["tokens_per_s"]["median"]) for side in ("theirs", "ours"))]
            for name, pair in model["pairs"].items()
        ]  # fmt: skip
        counts = f"{s['n']} prompts, P={s['prompt']} G={s['group']} R={s['response']}"
        parts += [f"{model['model']}: {model['words']}. {counts}.", table(head, rows)]
    return "\n\n".join(parts)


if __name__ == "__main__":
    main(measure_all, page)
