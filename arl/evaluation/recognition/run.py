"""Rows of an evaluation from the engine's greedy hypotheses, or from transcripts that another system has written.

Every utterance of every set is in flight at once, in one engine session. Left out: sampling; greedy decoding is what
a policy is judged by.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from arl.engine.client import Engine
from arl.engine.generate import audio_seconds, generate, text_of
from arl.engine.session import awake, serving_engine
from arl.errors import ArlError
from arl.evaluation.options import EvalOptions, Measured
from arl.evaluation.recognition.score import score
from arl.evaluation.sets import read_sets
from arl.policy import Policy, load_tokenizer
from arl.runtime.budget import FailureBudget
from arl.runtime.console import progress
from arl.runtime.stage import policy_of_embeddings
from arl.shards.reader import Sample
from arl.shards.rows import Meta
from arl.text.lines import NOT_UTF8, read_each_line

Rows = list[dict[str, Any]]


def measure(options: EvalOptions, out: Path) -> Measured:
    """A row per utterance of all sets that has not failed; the summary says whose they are, and what it took."""
    own = options.recognition
    if own.transcripts:
        budget = FailureBudget(own.max_failed)
        rows, cost = transcribed(read_transcripts(own.transcripts, budget), options.sets, budget)
        return Measured(rows, {"transcripts": str(own.transcripts)}, cost)
    policy = Policy.open(options.policy or policy_of_embeddings(options.sources))
    client = serving_engine(policy, own.engine)
    rows, cost = decode(client, policy, options.sets, own.max_new_tokens, own.max_failed)
    return Measured(rows, {"policy": policy.version}, cost)


def decode(
    client: Engine, policy: Policy, sets: Mapping[str, Sequence[str]], max_new_tokens: int, max_failed: int
) -> tuple[Rows, dict[str, float]]:
    """One row per utterance of all sets that did not fail; how many failed, and how long the engine took."""
    budget = FailureBudget(max_failed)
    named = list(stated(sets, budget))
    samples, refused = [sample for _, sample, _ in named], budget.count
    tokenizer = load_tokenizer(policy.llm_dir)
    sampling = {"temperature": 0.0, "top_p": 1.0, "max_new_tokens": max_new_tokens}
    with progress("eval", len(samples)) as bar, awake(client, policy, "eval"):
        start = time.monotonic()
        groups = generate(client, policy, samples, 1, sampling, 0, budget, bar)
        seconds = time.monotonic() - start
    rows = []
    for (name, sample, meta), group in zip(named, groups, strict=True):
        if group is not None:
            text = text_of(group.hypotheses[0].tokens, tokenizer, policy)
            duration_s = meta.duration_s or audio_seconds([sample], policy) or None
            rows.append(score(name, sample.key, meta, text, duration_s))
    audio_s = audio_seconds(samples, policy)
    timing = {"failed": refused + len(samples) - len(rows), "seconds": round(seconds, 2), "audio_s": round(audio_s, 1)}
    return rows, timing | ({"rtf": round(seconds / audio_s, 5)} if audio_s else {})


def transcribed(
    transcripts: Mapping[str, str], sets: Mapping[str, Sequence[str]], budget: FailureBudget
) -> tuple[Rows, dict[str, float]]:
    """One row per utterance of all sets that `transcripts` (key → text) has; a missing one has failed."""
    rows = []
    for name, sample, meta in stated(sets, budget):
        text = transcripts.get(sample.key)
        if text is None:
            budget.spend_missing(f"{sample.key}: no transcript of this utterance")
        else:
            rows.append(score(name, sample.key, meta, text, meta.duration_s or None))
    return rows, {"failed": budget.count}


def stated(sets: Mapping[str, Sequence[str]], budget: FailureBudget) -> Iterator[tuple[str, Sample, Meta]]:
    """(set, utterance, what is known of it) of all sets; one of another form is spent from the budget."""
    for name, sample in read_sets(sets):
        try:
            meta = Meta.of(sample)
        except ArlError as error:
            budget.spend(str(error))
        else:
            yield name, sample, meta


def read_transcripts(path: Path, budget: FailureBudget | None = None) -> dict[str, str]:
    """Key → text of lines `key<TAB>text`; an empty text is an empty transcript. Any other line is spent from the
    budget, by default one of none."""
    budget = budget or FailureBudget(0)
    if not path.is_file():
        raise ArlError(f"{path}: no such file of transcripts")
    texts: dict[str, str] = {}
    for number, line in enumerate(read_each_line(path), 1):
        key, tab, text = (line or "").partition("\t")
        if line is None:
            budget.spend_line(f"{path}:{number}: {NOT_UTF8}; save it as UTF-8")
        elif line.strip() and not (tab and key):
            budget.spend_line(f"{path}:{number}: not key<TAB>text")
        elif key in texts:
            budget.spend(f"{path}:{number}: a second transcript of {key!r}")
        elif line.strip():
            texts[key] = text
    return texts
