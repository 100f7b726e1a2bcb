"""`arl update`: rollouts and rewards (or transcripts) + a policy → the next policy.

    arl update --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next      # GRPO
    arl update --loss mwer --beta 0 --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next
    arl update --loss combined --token-asr token-asr --shards data/ --shards emb/ --shards rollout/ --shards reward/ …
    arl update --loss sft --shards feat/ --shards data/train --train-projector --policy p -o q

One shard is one batch and one optimizer step; with --gather all shards are one batch. With a single update per
rollout the ratio of eq. 2 is one by construction; with more (several shards, or --epochs), the log-probabilities
before the first are kept. The policy in `--policy` is never changed; the next one is written whole, with its
optimizer state, or not at all. arl/losses/README.md has a page per loss, and says what is logged.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from arl.cli import options
from arl.losses import CLIPS, ON_SPEECH

OF_RL, OF_SFT, OF_OPTIMIZER = "Reinforcement learning", "Supervised training", "Optimizer"
OF_SPEECH, OF_COMPUTE = "DiffRO, of speech synthesis", "Computation"


def flag(panel: str | None, name: str, text: str, **limits: Any) -> Any:
    """A flag in a panel of the help."""
    return typer.Option(name, help=text, rich_help_panel=panel, **limits)


Loss = Annotated[
    str,
    flag(
        None,
        "--loss",
        "grpo, dr_grpo, dapo, gspo or mwer on rollouts; diffro or combined on those of speech synthesis; "
        "sft: teacher forcing on the transcripts.",
    ),
]
Epochs = Annotated[int, flag(None, "--epochs", "Passes over the shards.", min=1)]
Reference = Annotated[
    Path | None, flag(OF_RL, "--reference", "Reference policy of the KL. Default: --policy at step 0.")
]
Beta = Annotated[float, flag(OF_RL, "--beta", "Weight of the KL; 0: no KL, and no reference is loaded.", min=0.0)]
Kl = Annotated[str, flag(OF_RL, "--kl", "KL estimator: k1, k2 or k3.")]
KlRatio = Annotated[
    bool, flag(OF_RL, "--kl-ratio", "Multiply the KL by the ratio: the unbiased gradient of KL(policy ‖ reference).")
]
ClipLow = Annotated[
    float | None, flag(OF_RL, "--clip-low", "ε below 1 of the ratio. Default: 0.2; gspo: 3e-4.", min=0.0)
]
ClipHigh = Annotated[
    float | None, flag(OF_RL, "--clip-high", "ε above 1 of the ratio. Default: 0.2; dapo: 0.28; gspo: 4e-4.", min=0.0)
]
ClipDual = Annotated[
    float, flag(OF_RL, "--clip-dual", "Bound of the ratio where the advantage is negative, above 1; 0: none.", min=0.0)
]
Divisor = Annotated[
    float, flag(OF_RL, "--divisor", "dr_grpo: tokens that every hypothesis' sum is divided by.", min=1.0)
]
Risk = Annotated[
    str, flag(OF_RL, "--risk", "mwer minimises: errors, the word errors that `wer` counted, or reward, negated.")
]
Gather = Annotated[
    int, flag(OF_RL, "--gather", "One batch of the first N groups with spread in all shards; 0: a shard each.", min=0)
]
AllowStale = Annotated[
    bool, flag(OF_RL, "--allow-stale", "Accept rollouts of another policy version, by importance weights.")
]
Importance = Annotated[
    str,
    flag(OF_RL, "--importance", "Weights of fresh rollouts too, trainer over engine: none, truncate or mask."),
]
ImportanceCap = Annotated[float, flag(OF_RL, "--importance-cap", "Largest importance weight.", min=0.0)]
ImportanceFloor = Annotated[float, flag(OF_RL, "--importance-floor", "mask: the smallest one that is kept.", min=0.0)]
ImportanceLevel = Annotated[str, flag(OF_RL, "--importance-level", "A weight per token, or per sequence.")]
TokenAsr = Annotated[
    Path | None, flag(OF_SPEECH, "--token-asr", "Recogniser that `arl train-token-asr` made: the reward.")
]
Heads = Annotated[
    list[str] | None,
    flag(
        OF_SPEECH,
        "--head",
        "Differentiable reward of your own, added to it. Repeatable.",
        metavar="FILE.py:CLASS[=WEIGHT]",
    ),
]
Gumbel = Annotated[
    str, flag(OF_SPEECH, "--gumbel", "Noise: sampled, its maximum is the sampled token; fresh, as the papers have it.")
]
Tau = Annotated[float, flag(OF_SPEECH, "--tau", "Temperature of the Gumbel-softmax.")]
Base = Annotated[str, flag(OF_SPEECH, "--base", "combined adds DiffRO to: grpo or dapo.")]
DiffroWeight = Annotated[float, flag(OF_SPEECH, "--diffro-weight", "λ, DiffRO's weight in combined.", min=0.0)]
NoFilter = Annotated[
    bool, flag(OF_SPEECH, "--no-filter", "combined: DiffRO on all hypotheses, not only on those with A > 0.")
]
TrainProjector = Annotated[bool, flag(OF_SFT, "--train-projector", "Train the projector too, from feature shards.")]
Ctc = Annotated[float, flag(OF_SFT, "--ctc", "Weight of the CTC loss on the embeddings.", min=0.0)]
Lr = Annotated[float, flag(OF_OPTIMIZER, "--lr", "Learning rate.", min=0.0)]
Warmup = Annotated[int, flag(OF_OPTIMIZER, "--warmup", "Warm-up steps.", min=0)]
ScheduleKind = Annotated[str, flag(OF_OPTIMIZER, "--schedule", "constant or cosine.")]
TotalSteps = Annotated[int, flag(OF_OPTIMIZER, "--total-steps", "Where the cosine ends; 0: this run's steps.", min=0)]
MaxSteps = Annotated[int, flag(OF_OPTIMIZER, "--max-steps", "Stop after this many steps; 0: all.", min=0)]
WeightDecay = Annotated[float, flag(OF_OPTIMIZER, "--weight-decay", "AdamW decay of matrices.", min=0.0)]
MaxNorm = Annotated[float, flag(OF_OPTIMIZER, "--max-norm", "Gradient clipping; 0 is off.", min=0.0)]
FreshOptimizer = Annotated[bool, flag(OF_OPTIMIZER, "--fresh-optimizer", "Ignore saved optimizer state.")]
Tokens = Annotated[
    int, flag(OF_COMPUTE, "--tokens", "Positions per micro-batch; changes no result. 0: the device's own.", min=0)
]
Autocast = Annotated[str, flag(OF_COMPUTE, "--autocast", "none or bfloat16: products only, weights keep their dtype.")]
Checkpointing = Annotated[
    bool, flag(OF_COMPUTE, "--checkpointing", "Keep one activation per layer, compute the rest again: less memory.")
]
Offload = Annotated[
    bool, flag(OF_COMPUTE, "--offload", "Optimizer state and reference rest in host memory; nothing to do on a CPU.")
]
Compile = Annotated[bool, flag(OF_COMPUTE, "--compile", "Run the LLM's layers through torch.compile: slow to start.")]
SaveEvery = Annotated[int, flag(OF_COMPUTE, "--save-every", "Steps between resumable checkpoints; 0: none.", min=0)]


def update(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    loss: Loss = "grpo",
    epochs: Epochs = 1,
    reference: Reference = None,
    beta: Beta = 0.1,
    kl: Kl = "k3",
    kl_ratio: KlRatio = False,
    clip_low: ClipLow = None,
    clip_high: ClipHigh = None,
    clip_dual: ClipDual = 0.0,
    divisor: Divisor = 256.0,
    risk: Risk = "errors",
    gather: Gather = 0,
    allow_stale: AllowStale = False,
    importance: Importance = "none",
    importance_cap: ImportanceCap = 2.0,
    importance_floor: ImportanceFloor = 0.5,
    importance_level: ImportanceLevel = "token",
    token_asr: TokenAsr = None,
    head: Heads = None,
    gumbel: Gumbel = "sampled",
    tau: Tau = 1.0,
    base: Base = "grpo",
    diffro_weight: DiffroWeight = 1.0,
    no_filter: NoFilter = False,
    train_projector: TrainProjector = False,
    ctc: Ctc = 0.0,
    lr: Lr = 1e-6,
    warmup: Warmup = 0,
    schedule: ScheduleKind = "constant",
    total_steps: TotalSteps = 0,
    max_steps: MaxSteps = 0,
    weight_decay: WeightDecay = 0.0,
    max_norm: MaxNorm = 1.0,
    fresh_optimizer: FreshOptimizer = False,
    tokens: Tokens = 0,
    autocast: Autocast = "none",
    checkpointing: Checkpointing = False,
    offload: Offload = False,
    compile: Compile = False,
    save_every: SaveEvery = 0,
    device: options.Device = "auto",
    threads: options.Threads = 0,
    seed: options.Seed = 0,
    force: options.Force = False,
) -> None:
    """Train the policy on rollouts and rewards, or on transcripts.

    Example: arl update --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next
    """
    from arl.cli.update_checks import (
        check_choices,
        check_reinforced,
        check_speech,
        check_supervised,
        reference_policy,
        speech_heads,
    )
    from arl.errors import UsageError
    from arl.models import family_of
    from arl.policy import Policy
    from arl.runtime.console import note
    from arl.runtime.stage import default_out
    from arl.shards.paths import joined_shards
    from arl.train.job import UpdateJob
    from arl.train.run import train

    if policy is None:
        raise UsageError("arl update needs --policy (or ARL_POLICY)")
    check_choices({
        "--loss": loss, "--kl": kl, "--risk": risk, "--gumbel": gumbel, "--base": base,
        "--importance": importance, "--importance-level": importance_level,
        "--schedule": schedule, "--autocast": autocast,
    })  # fmt: skip
    low, high = CLIPS.get(base if loss == "combined" else loss, CLIPS["grpo"])
    settings = {
        "loss": loss, "beta": beta, "kl": kl, "kl_ratio": kl_ratio, "clip_low": low if clip_low is None else clip_low,
        "clip_high": high if clip_high is None else clip_high, "clip_dual": clip_dual, "divisor": divisor, "risk": risk,
        "gather": gather, "importance": importance, "importance_cap": importance_cap,
        "importance_floor": importance_floor, "importance_level": importance_level, "epochs": epochs, "lr": lr,
        "warmup": warmup, "schedule": schedule, "total_steps": total_steps, "max_steps": max_steps,
        "weight_decay": weight_decay, "max_norm": max_norm, "fresh_optimizer": fresh_optimizer,
        "tokens": tokens, "autocast": autocast, "checkpointing": checkpointing, "offload": offload, "compile": compile,
        "allow_stale": allow_stale, "train_projector": train_projector, "ctc": ctc, "seed": seed,
    }  # fmt: skip
    opened = Policy.open(policy)
    check_supervised(loss, train_projector, ctc, opened)
    check_reinforced(settings)
    heads = speech_heads(loss, opened, token_asr, head or [])
    if loss in ON_SPEECH:
        named = {"heads": [spec.fingerprint() for spec in heads], "gumbel": gumbel, "tau": tau}
        settings |= named | {"base": base, "diffro_weight": diffro_weight, "filter": not no_filter}
        check_speech(settings)
    against = reference_policy(opened, reference) if loss != "sft" and beta > 0 else None
    load_frontend = family_of(opened, "projector").load_frontend if train_projector else None
    job = UpdateJob(
        opened, against, joined_shards(shards), out or default_out("update", shards), settings, heads, load_frontend
    )
    if not force and job.is_done():
        note(f"update: {job.out} is already made from these inputs (-f redoes it)")
        return
    train(job, device, threads, save_every)
