"""i: a recognition checkpoint in and out: init, encode and export of a Qwen3-ASR of 0.6 B with random weights.

    python -m benchmarks.checkpoint [--quick]

The sizes are those of Qwen/Qwen3-ASR-0.6B in bfloat16, in shards of 600 MB; the tokenizer is that of the tests. Each
command is a process of its own, its peak memory what the kernel says of it. Ten clips of 10 s are encoded, in float32
as on every CPU. The 7B is on paper: `arl init` holds the LLM once, for its probe, `arl encode` the audio tower in
float32, `arl export` the largest tensor twice; and each what it needs beside that here. `--quick`: two layers each.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.command import Result, main, number, scratch, table, target
from benchmarks.models import QWEN2_7B

COMMANDS = "init", "encode", "export"
CLIPS, CLIP_S = 10, 10.0
WIDTH, VOCABULARY = 1024, 151936
TOWER_7B = 637e6  # parameters of Whisper large-v3's encoder
GB, HALF, SINGLE = 1e9, 2, 4
WANTED = 1.3  # times the checkpoint's size, of `arl init` of a 7B


def measure_all(quick: bool) -> Result:
    with tempfile.TemporaryDirectory(dir=scratch()) as place:
        at = Path(place)
        layers = "2, 2" if quick else "18, 28"
        made = f"from benchmarks.checkpoint import make; make({str(at)!r}, {layers})"
        subprocess.run([sys.executable, "-c", made], check=True)  # this process stays small
        checkpoint, policy = at / "checkpoint", at / "policy"
        size, llm, tower = sizes(checkpoint)
        figures = {
            "init": run("init", "--from", checkpoint, "-o", policy),
            "encode": run("encode", "--shards", at / "data", "--policy", policy, "-o", at / "emb", "--device", "cpu"),
            "export": run("export", "--policy", policy, "-o", at / "back"),
        }
        same = all(file.read_bytes() == (at / "back" / file.name).read_bytes() for file in checkpoint.iterdir())
    held = {"init": llm, "encode": tower * SINGLE / HALF, "export": 2 * WIDTH * VOCABULARY * HALF}
    paper = on_paper({name: figures[name]["peak_bytes"] - held[name] for name in held})
    return {
        "size_gb": size / GB, "same": same, "commands": figures, "paper": paper,
        "targets": [target("i: RAM of splitting a 7B over its size, on paper", paper["init"] / paper["size"], WANTED,
                           at_least=False)],
    }  # fmt: skip


def on_paper(beside: dict[str, float]) -> dict[str, float]:
    """GB of a 7B: its size on the disk, and what each command holds at its peak."""
    llm, table_bytes = QWEN2_7B.parameters * HALF, QWEN2_7B.hidden * QWEN2_7B.vocab * HALF
    held = {"init": llm, "encode": TOWER_7B * SINGLE, "export": 2 * table_bytes}
    return {"size": (llm + TOWER_7B * HALF) / GB, **{name: (held[name] + beside[name]) / GB for name in held}}


def sizes(folder: Path) -> tuple[int, int, int]:
    """Bytes of the tensors of a checkpoint: all, the LLM's, the rest."""
    from arl.models.speech_lm.tensors import read_tensors

    tensors = [tensor for file in folder.glob("*.safetensors") for tensor in read_tensors(file)]
    llm = sum(tensor.size for tensor in tensors if tensor.name.startswith("model.language_model."))
    total = sum(tensor.size for tensor in tensors)
    return total, llm, total - llm


def run(*words: str | Path) -> dict[str, float]:
    """{"cpu_s", "wall_s", "peak_bytes"} of an `arl` command."""
    began = time.monotonic()
    process = subprocess.Popen([str(Path(sys.executable).with_name("arl")), *map(str, words)])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"arl {words[0]}: exit code {process.returncode}")
    wall_s = time.monotonic() - began
    return {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall_s, "peak_bytes": used.ru_maxrss * 1024.0}


def make(place: str, audio_layers: int, text_layers: int) -> None:
    """Writes `checkpoint`, as transformers saves the class, and `data`, a shard of noise."""
    import numpy as np
    import torch
    from transformers import (
        Qwen3ASRConfig,
        Qwen3ASRFeatureExtractor,
        Qwen3ASRForConditionalGeneration,
        Qwen3ASRProcessor,
    )

    from arl.audio.io import encode_flac
    from arl.shards import columns
    from arl.shards.writer import write_shard
    from tests.models.speech_checkpoints import CHAT, tokenizer

    audio = {"num_mel_bins": 128, "d_model": 896, "encoder_layers": audio_layers, "encoder_attention_heads": 14,
             "encoder_ffn_dim": 3584, "output_dim": WIDTH, "downsample_hidden_size": 480}  # fmt: skip
    text = {"model_type": "qwen3", "vocab_size": VOCABULARY, "hidden_size": WIDTH, "intermediate_size": 3072,
            "num_hidden_layers": text_layers, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
            "max_position_embeddings": 65536, "tie_word_embeddings": True}  # fmt: skip
    ids = {"audio_token_id": 5, "pad_token_id": 0, "eos_token_id": [2, 4]}
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen3ASRForConditionalGeneration(Qwen3ASRConfig(audio_config=audio, text_config=text, **ids))
    model.save_pretrained(Path(place) / "checkpoint", max_shard_size="600MB")
    words = tokenizer(audio_token="<audio>", audio_bos_token="<bos>", audio_eos_token="<eos>")
    Qwen3ASRProcessor(Qwen3ASRFeatureExtractor(), words, chat_template=CHAT).save_pretrained(Path(place) / "checkpoint")
    rng = np.random.default_rng(0)
    said = columns.dumps({"text": "one"})
    waves = [0.1 * rng.standard_normal(round(CLIP_S * 16_000)).astype(np.float32) for _ in range(CLIPS)]
    rows = [(f"utt{i}", {"flac": encode_flac(wave, 16_000), columns.META: said}) for i, wave in enumerate(waves)]
    write_shard(Path(place) / "data" / "000000.tar", rows)


def page(result: Result) -> str:
    paper = result["paper"]
    rows = [
        [f"`arl {name}`", number(it["wall_s"]), number(it["cpu_s"]), number(it["peak_bytes"] / GB), number(paper[name])]
        for name, it in ((name, result["commands"][name]) for name in COMMANDS)
    ]  # fmt: skip
    text = (f"The checkpoint has {number(result['size_gb'])} GB, the 7B {number(paper['size'])} GB. The exported files "
            f"{'are' if result['same'] else '**are not**'} the checkpoint's, byte for byte.")  # fmt: skip
    head = ["", "wall s", "CPU s", "peak GB", "7B on paper, peak GB"]
    about = __doc__.split("\n\n")[2].strip()
    return "\n\n".join(["## i: a recognition checkpoint in and out", about, text, table(head, rows)])


if __name__ == "__main__":
    main(measure_all, page, threads=0)
