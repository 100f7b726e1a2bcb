"""`arl update`: rollouts and rewards (or transcripts) + a policy → the next policy.

    arl update --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next      # GRPO
    arl update --loss sft --shards feat/ --shards data/train --train-projector --policy p -o q

One shard is one batch and one optimizer step. With a single update per rollout the ratio of eq. 2 is one by
construction; with more (several shards, or --epochs), the log-probabilities before the first are kept. The
policy in `--policy` is never changed; the next one is written whole, with its optimizer state, or not at all.
"""

import hashlib
import json
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arl import options

if TYPE_CHECKING:
    from arl.train.learner import Learner

LOSSES = ("grpo", "sft")
NUMBER = dict(rich_help_panel="Optimizer")


def update(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    loss: Annotated[str, typer.Option("--loss", help="grpo, or sft (teacher forcing on the transcripts).")] = "grpo",
    reference: Annotated[Path | None, typer.Option("--reference", help="Reference policy of the KL. Default: --policy at step 0.")] = None,
    beta: Annotated[float, typer.Option("--beta", min=0.0, help="Weight of the KL; 0 loads no reference.")] = 0.1,
    kl: Annotated[str, typer.Option("--kl", help="KL estimator: k1, k2 or k3.")] = "k3",
    clip_low: Annotated[float, typer.Option("--clip-low", help="ε below 1 of the ratio.")] = 0.2,
    clip_high: Annotated[float, typer.Option("--clip-high", help="ε above 1 of the ratio.")] = 0.2,
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Passes over the shards.")] = 1,
    lr: Annotated[float, typer.Option("--lr", help="Learning rate.", rich_help_panel="Optimizer")] = 1e-6,
    warmup: Annotated[int, typer.Option("--warmup", help="Warm-up steps.", rich_help_panel="Optimizer")] = 0,
    schedule: Annotated[str, typer.Option("--schedule", help="constant or cosine.", rich_help_panel="Optimizer")] = "constant",
    total_steps: Annotated[int, typer.Option("--total-steps", help="Where the cosine ends; 0: this run's steps.", rich_help_panel="Optimizer")] = 0,
    weight_decay: Annotated[float, typer.Option("--weight-decay", rich_help_panel="Optimizer", help="AdamW decay of matrices.")] = 0.0,
    max_norm: Annotated[float, typer.Option("--max-norm", rich_help_panel="Optimizer", help="Gradient clipping; 0 is off.")] = 1.0,
    fresh_optimizer: Annotated[bool, typer.Option("--fresh-optimizer", rich_help_panel="Optimizer", help="Ignore saved optimizer state.")] = False,
    tokens: Annotated[int, typer.Option("--tokens", help="Padded positions per micro-batch; never changes the result.")] = 8192,
    autocast: Annotated[str, typer.Option("--autocast", help="none or bfloat16: matrix products, weights keep their dtype.")] = "none",
    allow_stale: Annotated[bool, typer.Option("--allow-stale", help="Accept rollouts of another policy version.")] = False,
    train_projector: Annotated[bool, typer.Option("--train-projector", help="sft: train the projector too, from feature shards.")] = False,
    ctc: Annotated[float, typer.Option("--ctc", help="sft: weight of the CTC loss on the embeddings.")] = 0.0,
    save_every: Annotated[int, typer.Option("--save-every", help="Steps between resumable checkpoints; 0: none.")] = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    seed: options.Seed = 0,
    force: options.Force = False,
) -> None:  # fmt: skip
    """Train the policy on rollouts and rewards, or on transcripts.

    Example: arl update --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next
    """
    from arl.console import note
    from arl.errors import UsageError
    from arl.losses.kl import ESTIMATORS
    from arl.policy import MARKER, Policy
    from arl.shards.paths import joined_shards
    from arl.stage import default_out

    if policy is None:
        raise UsageError("arl update needs --policy (or ARL_POLICY)")
    for name, value, known in (
        ("--loss", loss, LOSSES), ("--kl", kl, ESTIMATORS), ("--schedule", schedule, ("constant", "cosine")),
        ("--autocast", autocast, ("none", "bfloat16")),
    ):  # fmt: skip
        if value not in known:
            raise UsageError(f"{name} {value}: one of {', '.join(known)}")
    given = dict(locals())
    settings = {
        name: given[name]
        for name in (
            "loss", "beta", "kl", "clip_low", "clip_high", "epochs", "lr", "warmup", "schedule", "total_steps",
            "weight_decay", "max_norm", "fresh_optimizer", "tokens", "autocast", "allow_stale", "train_projector",
            "ctc", "seed",
        )
    }  # fmt: skip
    opened = Policy.open(policy)
    matched = joined_shards(shards)
    out = out or default_out("update", shards)
    anchor = None
    if loss == "grpo" and beta > 0:
        anchor = Policy.open(reference) if reference else opened if opened.step == 0 else None
        if anchor is None:
            raise UsageError(f"--policy {policy} is at step {opened.step}: give --reference START, or --beta 0")
    made = fingerprint(opened.version, anchor.version if anchor else None, settings, matched)
    if not force and (out / MARKER).is_file() and Policy.open(out).fields.get("made") == made:
        note(f"update: {out} is already made from these inputs (-f redoes it)")
        return
    train(opened, anchor, matched, out, settings, made, device, threads, save_every)


def fingerprint(version: str, reference: str | None, settings: dict[str, Any], matched: Sequence[tuple[str, Sequence[Path]]]) -> str:
    """Names the next policy: equal policy, reference, settings and shard contents give equal weights."""
    from arl.errors import ArlError
    from arl.shards.marker import read_marker

    digests = []
    for _, paths in matched:
        for path in paths:
            marker = read_marker(path)
            if marker is None:
                raise ArlError(f"{path}: no end marker: truncated, or not written by arl; `arl check {path}` says more")
            digests.append(marker.sha256)
    what = [version, reference, settings, digests]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:32]


def train(
    opened: Any, anchor: Any, matched: list, out: Path, settings: dict[str, Any], made: str, device: str, threads: int,
    save_every: int,
) -> None:  # fmt: skip
    """Makes the steps and writes the next policy; with `save_every`, resumes a killed run from its last checkpoint."""
    from arl.console import note, progress
    from arl.policy import MARKER, Policy
    from arl.stage import peak_memory_mb, seconds_since_start

    opened.verify()
    seconds = {"load": seconds_since_start(), "wake": 0.0, "run": 0.0, "sleep": 0.0, "write": 0.0}
    start = time.monotonic()
    partial = out.parent / f".{out.name}.checkpoint"
    resumed = partial if (partial / MARKER).is_file() and Policy.open(partial).fields.get("made") == made else None
    learner = make_learner(Policy.open(resumed) if resumed else opened, anchor, settings, device, threads)
    schedule = step_order(matched, settings["epochs"], settings["seed"])
    done = learner.policy.fields.get("steps_done", 0) if resumed else 0
    if resumed or not settings["fresh_optimizer"]:
        learner.resume()
    if settings["schedule"] == "cosine" and not settings["total_steps"]:
        object.__setattr__(learner.schedule, "total", learner.updates - done + len(schedule))
    seconds["wake"] = time.monotonic() - start

    start = time.monotonic()
    lines: list[dict[str, Any]] = []
    with progress("update", len(schedule)) as bar:
        bar.advance(done)
        for index, metrics in steps(learner, opened.version, schedule, done, settings):
            lines.append(metrics)
            bar.advance(1, f"loss {metrics['loss']:.4f}")
            if len(schedule) > 20 and (index + 1) % 50 == 0:
                note(f"update: step {index + 1}/{len(schedule)} " + brief(metrics))
            if save_every and (index + 1) % save_every == 0 and index + 1 < len(schedule):
                learner.save(partial, opened.step + index + 1, {"made": made, "steps_done": index + 1}, "")
    seconds["run"] = time.monotonic() - start

    line = {
        "stage": "update", "shard": matched[-1][0], "made": made, "policy": opened.version, "arguments": settings,
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "peak_memory_mb": round(peak_memory_mb(), 1), "steps": len(schedule), "samples": lines[-1]["groups"] if lines else 0,
        **(lines[-1] if lines else {}),
    }  # fmt: skip
    policy = learner.save(out, opened.step + len(schedule), {"made": made}, json.dumps(line, sort_keys=True) + "\n")
    if partial.exists():
        import shutil

        shutil.rmtree(partial)
    note(f"update: {out}: policy {policy.version} " + (brief(lines[-1]) if lines else ""))


def brief(metrics: dict[str, Any]) -> str:
    """The figures a person watches, in one line."""
    shown = ("loss", "auxiliary", "reward", "kl", "entropy", "length", "grad_norm", "lr")
    return " ".join(f"{name} {metrics[name]:.4g}" for name in shown if name in metrics)


def make_learner(policy: Any, anchor: Any, settings: dict[str, Any], device: str, threads: int) -> "Learner":
    """Loads the policy's LLM, the reference where the KL needs one, and the frontend where the projector is trained."""
    import torch

    from arl.device import pick_device
    from arl.models import family
    from arl.train.learner import Learner, load_llm
    from arl.train.optimizer import Schedule
    from arl.train.step import Compute

    where = pick_device(device, threads)
    autocast = torch.bfloat16 if settings["autocast"] == "bfloat16" else None
    reference = load_llm(anchor.llm_dir, where).requires_grad_(False) if anchor is not None else None
    frontend = family(policy.family).frontend.load(policy.frontend_dir) if settings["train_projector"] else None
    return Learner(
        policy=policy, model=load_llm(policy.llm_dir, where),
        compute=Compute(policy.audio_token_id, settings["tokens"], autocast=autocast),
        schedule=Schedule(settings["lr"], settings["warmup"], settings["schedule"], settings["total_steps"]),
        max_norm=settings["max_norm"], weight_decay=settings["weight_decay"], seed=settings["seed"],
        reference=reference, frontend=frontend, ctc=settings["ctc"],
    )  # fmt: skip


def step_order(matched: list, epochs: int, seed: int) -> list[tuple[str, Sequence[Path]]]:
    """The shards of every optimizer step: in order for one epoch, shuffled afresh (seeded) in each later one."""
    order = list(matched)
    for epoch in range(1, epochs):
        again = list(matched)
        random.Random(f"{seed}/{epoch}").shuffle(again)
        order += again
    return order


def steps(learner: "Learner", version: str, schedule: list, done: int, settings: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Makes each optimizer step and yields (its index, its metrics)."""
    from arl.losses.grpo import Grpo
    from arl.rollout import load_tokenizer
    from arl.shards.reader import read_joined
    from arl.train.data import rl_batch, sft_batch

    if settings["loss"] == "sft":
        tokenizer = load_tokenizer(learner.policy.llm_dir)
        fields = learner.policy.fields
        for index in range(done, len(schedule)):
            samples = read_joined(schedule[index][1])
            kind = fields.get("text", "plain")
            batch = sft_batch(samples, tokenizer, fields["eos_token_id"], kind, settings["train_projector"])
            yield index, batch.figures | learner.sft_step(batch)
        return
    loss = Grpo(settings["clip_low"], settings["clip_high"], settings["beta"], settings["kl"])
    batches = {name: rl_batch(read_joined(paths), version, settings["allow_stale"]) for name, paths in dict(schedule).items()}
    first = next(iter(batches.values()))
    difference = learner.check(first)
    several = len(schedule) > 1
    old = {name: learner.old_log_probs(batch) for name, batch in batches.items()} if several else {}
    for index in range(done, len(schedule)):
        name = schedule[index][0]
        metrics = learner.grpo_step(batches[name], loss, old.get(name))
        yield index, batches[name].figures | metrics | {"self_check": difference}
