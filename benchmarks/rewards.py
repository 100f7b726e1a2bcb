"""g: `arl reward --with wer --with keyword=0.5 --gate hallucination=-1` on 100,000 hypotheses, the whole command.

    python -m benchmarks.rewards [--quick]

Groups of 12 hypotheses of about 10 words that differ from the reference and from each other by ordinary errors (a
twelfth are right, one in fifty loops), in shards of 32 as `arl rollout` writes them, with 50 tokens and
log-probabilities each. The time is the whole command's: start of Python, reading, scoring, advantages, tar files on
disk. Beside it jiwer with Whisper's normaliser, called once per group, as the word error rate alone is had in a few
lines: a thirtieth of the groups in a loop, without reading or writing anything.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from arl.data.corpora.telephone import NOUNS, VERBS, prompt
from benchmarks import measure
from benchmarks.command import Result, main, scratch, table, target, with_spread

GROUP, SHARD, TOKENS = 12, 32, 50
WANTED = 1_667  # hypotheses a second: 100,000 in a minute
REWARDS = ["--with", "wer", "--with", "keyword=0.5", "--gate", "hallucination=-1"]
RATES = {"rate": "wall_s", "cpu_rate": "cpu_s"}  # hypotheses a second
FREQUENT = (
    "the a of to in is it that and for on with as was at by this we you i they not have be are but from or one all so "
    "can't don't it's we're i'll out up if about who get which go me when make like no just him know take into your"
)
SMALL = FREQUENT.split()


def measure_all(quick: bool) -> Result:
    n_groups, repeats = (800, 1) if quick else (8334, 3)
    with tempfile.TemporaryDirectory(dir=scratch(), prefix="rewards-") as folder:
        groups = list(made(n_groups))
        write(Path(folder), groups)
        return measure_in(Path(folder), groups, repeats)


def measure_in(folder: Path, groups: list[Any], repeats: int) -> Result:
    n = len(groups) * GROUP
    some = groups[:: max(1, min(30, len(groups) // 40))]

    def jiwer() -> measure.Figures:
        figures = measure.timed(lambda: by_jiwer(some))
        return figures | {name: len(some) * GROUP / figures[seconds] for name, seconds in RATES.items()}

    turns = measure.interleaved({
        "both": lambda: command(folder, os.cpu_count() or 1, n),
        "one": lambda: command(folder, 1, n),
        "jiwer": jiwer,
    }, repeats)  # fmt: skip
    rate = measure.column(turns, "both", "rate")
    wanted = target("g: hypotheses a second, all cores", rate["median"], WANTED)
    return {
        "hypotheses": n, "cores": os.cpu_count(), "targets": [wanted],
        "rates": {name: measure.column(turns, name, "rate") for name in ("both", "one", "jiwer")},
        "cpu_rates": {name: measure.column(turns, name, "cpu_rate") for name in ("both", "one", "jiwer")},
        "gain": measure.ratios(turns, "one", "jiwer", "cpu_rate"),
    }  # fmt: skip


def made(n_groups: int, seed: int = 0) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yields (reference, keywords, hypotheses)."""
    rng = random.Random(seed)
    spelling = resources.files("whisper_normalizer").joinpath("normalizers/english.json").read_text()
    rare = sorted(set(json.loads(spelling).values()))
    for number_ in range(n_groups):
        if number_ % 2:
            said = f"{prompt(rng)} {prompt(rng)}".split()
        else:
            said = [rng.choice(rng.choice((SMALL, SMALL, NOUNS, VERBS, rare))) for _ in range(rng.randint(6, 14))]
        hypotheses = [said if k == 0 else changed(said, rng) for k in range(GROUP)]
        yield sentence(said), rng.sample(said, min(2, len(said))), [sentence(text) for text in hypotheses]


def changed(said: list[str], rng: random.Random) -> list[str]:
    """Ordinary errors in about a word of eight, at least one; one text in fifty ends in a loop."""
    heard = list(said)
    for place in {rng.randrange(len(said)) for _ in range(max(1, len(said) // 6))}:
        kind, word = rng.random(), said[place]
        other = rng.choice(SMALL) if kind < 0.3 else word[:-1] + rng.choice("aeiouts")
        heard[place] = "" if kind > 0.85 else f"{word} {other}" if kind > 0.7 else other
    return heard + heard[-2:] * 8 if rng.random() < 0.02 else heard


def sentence(words: list[str]) -> str:
    text = " ".join(filter(None, words))
    return text[:1].upper() + text[1:] + "."


def write(folder: Path, groups: list[Any]) -> None:
    """data/ and rollout/, where the rollouts' record leads to the data."""
    from arl.shards.columns import dumps
    from arl.shards.writer import write_shard

    rng = random.Random(1)
    logprobs = [round(-rng.random(), 4) for _ in range(TOKENS)]
    hyp = {"tokens": [rng.randrange(30) for _ in range(TOKENS)], "logprobs": logprobs, "finish": "stop"}
    (folder / "rollout").mkdir()
    with (folder / "rollout" / "stage.jsonl").open("w") as record:
        for k in range(0, len(groups), SHARD):
            name, rows = f"{k // SHARD:06d}", list(enumerate(groups[k : k + SHARD], k))
            metas = ({"text": r, "lang": "en", "keywords": words, "duration_s": 4.0} for _, (r, words, _) in rows)
            data = [(f"u{i}", {"json": dumps(meta)}) for (i, _), meta in zip(rows, metas, strict=True)]
            hyps = ((i, [hyp | {"text": text} for text in texts]) for i, (_, _, texts) in rows)
            rollouts = ((i, {"policy": "0", "temperature": 1.0, "hyps": texts}) for i, texts in hyps)
            rolled = [(f"u{i}", {"rollout.json": dumps(rollout)}) for i, rollout in rollouts]
            write_shard(folder / "data" / f"{name}.tar", data)
            write_shard(folder / "rollout" / f"{name}.tar", rolled)
            record.write(json.dumps({"shard": name, "sources": ["../data"]}) + "\n")


def command(folder: Path, jobs: int, n: int) -> measure.Figures:
    """The whole command in processes of its own; wall and CPU seconds, and hypotheses a second by wall time."""
    words = [str(Path(sys.executable).parent / "arl"), "reward", "--shards", str(folder / "rollout"), *REWARDS]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words += ["--jobs", str(jobs), "-f", "-o", str(folder / "reward")]
    before = os.times()
    watch = measure.timed(lambda: subprocess.run(words, check=True, stderr=subprocess.PIPE, env=environment))
    after = os.times()
    cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
    figures = {"wall_s": watch["wall_s"], "cpu_s": cpu_s}
    return figures | {name: n / figures[seconds] for name, seconds in RATES.items()}


def by_jiwer(groups: list[Any]) -> None:
    """1 - WER of every hypothesis with transformers' normaliser and jiwer."""
    import jiwer

    from arl.text.normalise import _english

    normaliser = _english()
    for reference, _, hypotheses in groups:
        heard = [normaliser(text) for text in hypotheses]
        jiwer.process_words([normaliser(reference)] * len(heard), heard)


def page(result: Result) -> str:
    names = {"both": f"{result['cores']} cores", "one": "one process", "jiwer": "jiwer, WER alone, in a loop"}
    rows = [
        [name, with_spread(result["rates"][side]), with_spread(result["cpu_rates"][side])]
        for side, name in names.items()
    ]  # fmt: skip
    gain = f"Per CPU second one process has {with_spread(result['gain'])} times as many as jiwer alone."
    text = f"{result['hypotheses']} hypotheses. {gain}"
    about = __doc__.split("\n\n")[2].strip()
    return "\n\n".join(["## g: rewards", about, text, table(["", "hypotheses/s", "per CPU second"], rows)])


if __name__ == "__main__":
    main(measure_all, page, threads=0)
