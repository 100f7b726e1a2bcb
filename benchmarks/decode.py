"""h: acoustic tokens to waveforms in batches, against one clip at a time.

    python -m benchmarks.decode [--quick]

32 clips of 1 to 8 s, drawn evenly, through a decoder of the default size with random weights, ten Euler steps with
guidance, float32. Both sides run the same `Decoder.decode` on all cores: batches as `arl decode` forms them in a shard,
and single clips, where the conditional and the unconditional velocity still are one batch of two. Rounding apart the
waves are equal, which is checked. On a CPU a matrix product of one clip (hundreds of frames) is already as fast per
frame as that of many, so that batches save the overhead of calls and cost their padding; on a GPU they fill the device.
"""

import os
from typing import Any

from arl.audio.clips import length_batches
from arl.models.decode_shard import STRETCH
from benchmarks import measure
from benchmarks.command import Result, main, number, table, target, with_spread

CLIPS, SHORTEST_S, LONGEST_S = 32, 1.0, 8.0
BATCH_S = 60.0  # the default of `arl decode --batch-s`
WANTED = 4.0  # times the throughput
NAMES = {"batched": "in batches", "one": "one by one"}


def measure_all(quick: bool) -> Result:
    import torch

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))))
    return measure_clips(make_decoder(), 8 if quick else CLIPS, LONGEST_S, 1 if quick else 3)


def make_decoder() -> Any:
    """The default sizes with random weights."""
    import torch

    from arl.models.qwen2_flow.decoder import Decoder
    from arl.models.qwen2_flow.flow import Flow, FlowConfig
    from arl.models.qwen2_flow.vocoder import Vocos, VocosConfig

    torch.manual_seed(0)
    return Decoder(Flow(FlowConfig()), Vocos(VocosConfig()))


def measure_clips(decoder: Any, n_clips: int, longest_s: float, repeats: int) -> Result:
    import torch

    from arl.models.qwen2_flow.decoder import noise_of

    config, rate = decoder.flow.config, decoder.token_rate_hz
    generator = torch.Generator().manual_seed(0)
    seconds = SHORTEST_S + (longest_s - SHORTEST_S) * torch.rand(n_clips, generator=generator)
    codes = [torch.randint(config.codes, (round(float(s) * rate),), generator=generator) for s in seconds]
    speakers = torch.randn(n_clips, config.speaker_dim, generator=generator)
    noises = [noise_of(str(i), 2 * len(row)) for i, row in enumerate(codes)]
    lengths = {f"{i:03d}": len(row) for i, row in enumerate(codes)}
    formed = {
        "batched": [[int(name) for name in batch] for batch in length_batches(lengths, BATCH_S * rate, STRETCH)],
        "one": [[i] for i in range(n_clips)],
    }
    waves: dict[str, dict[int, Any]] = {side: {} for side in formed}

    def decode(side: str) -> None:
        for batch in formed[side]:
            made = decoder.decode([codes[i] for i in batch], speakers[batch], [noises[i] for i in batch])
            waves[side] |= zip(batch, made, strict=True)

    audio_s = sum(lengths.values()) / rate

    def timed(side: str) -> measure.Figures:
        figures = measure.timed(lambda: decode(side))
        return figures | {"speed": audio_s / figures["wall_s"]}

    decoder.decode([row[:5] for row in codes[:2]], speakers[:2], [noise[:10] for noise in noises[:2]])  # warm
    turns = measure.interleaved({side: lambda side=side: timed(side) for side in formed}, repeats)  # type: ignore[misc]
    computed = sum(len(batch) * max(len(codes[i]) for i in batch) for batch in formed["batched"])
    gain = measure.ratios(turns, "one", "batched", "cpu_s")
    return {
        "clips": n_clips, "audio_s": audio_s, "threads": torch.get_num_threads(), "batches": len(formed["batched"]),
        "padding": 1 - sum(lengths.values()) / computed, "gain": gain,
        "wall_gain": measure.ratios(turns, "one", "batched", "wall_s"),
        "speeds": {side: measure.column(turns, side, "speed") for side in formed},
        "difference": max(float((waves["one"][i] - waves["batched"][i]).abs().max()) for i in range(n_clips)),
        "targets": [target("h: decoding one by one over in batches, CPU seconds", gain["median"], WANTED)],
    }  # fmt: skip


def page(result: Result) -> str:
    rows = [[NAMES[side], with_spread(result["speeds"][side])] for side in NAMES]
    text = (
        f"{result['clips']} clips, {number(result['audio_s'])} s of speech, {result['threads']} threads; "
        f"{result['batches']} batches, {100 * result['padding']:.1f} % of them padding. One by one takes "
        f"{with_spread(result['gain'])} times the CPU seconds and {with_spread(result['wall_gain'])} times the wall "
        f"time of batches. Largest difference of a sample: {result['difference']:.1g} of full scale."
    )
    about = __doc__.split("\n\n")[2].strip()
    return "\n\n".join(["## h: decoding", about, text, table(["", "seconds of speech a second"], rows)])


if __name__ == "__main__":
    main(measure_all, page, threads=0)
