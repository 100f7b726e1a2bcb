"""`arl update`: rollouts and rewards (or transcripts) + a policy → the next policy.

    arl update --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next      # GRPO
    arl update --loss mwer --beta 0 --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next
    arl update --loss combined --token-asr token-asr --shards data/ --shards emb/ --shards rollout/ --shards reward/ …
    arl update --lora-rank 16 --shards emb/ --shards rollout/ --shards reward/ --policy policy -o next
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
from arl.losses.settings import (
    AcousticSettings,
    Base,
    ErrorUnit,
    GumbelNoise,
    ImportanceKind,
    ImportanceLevel,
    KlEstimator,
    LossName,
    MwerForm,
    Risk,
)
from arl.train.settings import Autocast, ScheduleKind, UpdateSettings

OF_RL, OF_SFT, OF_OPTIMIZER = "Reinforcement learning", "Supervised training", "Optimizer"
OF_SPEECH, OF_COMPUTE, OF_LORA = "DiffRO, of speech synthesis", "Computation", "Adapter"


def flag(panel: str | None, name: str, text: str, **limits: Any) -> Any:
    """A flag in a panel of the help."""
    return typer.Option(name, help=text, rich_help_panel=panel, **limits)


Loss = Annotated[
    LossName,
    flag(
        None,
        "--loss",
        "What is minimised (arl/losses/README.md): on rollouts; diffro, combined: on those of speech synthesis; "
        "sft: on transcripts, by teacher forcing.",
    ),
]
Epochs = Annotated[int, flag(None, "--epochs", "Passes over the shards; from the second on shuffled by --seed.", min=1)]
Shuffle = Annotated[bool, flag(None, "--shuffle", "Shuffle the first pass over the shards, too, by --seed.")]
Reference = Annotated[
    Path | None, flag(OF_RL, "--reference", "Reference policy of the KL. Default: --policy at step 0.")
]
Beta = Annotated[float, flag(OF_RL, "--beta", "Weight of the KL; 0: no KL, and no reference is loaded.", min=0.0)]
Kl = Annotated[KlEstimator, flag(OF_RL, "--kl", "KL estimator per token.")]
KlRatio = Annotated[
    bool, flag(OF_RL, "--kl-ratio", "Multiply the KL by the ratio: the unbiased gradient of KL(policy ‖ reference).")
]
ClipLow = Annotated[
    float | None, flag(OF_RL, "--clip-low", "ε below 1 of the ratio. Default: the loss's own, mostly 0.2.", min=0.0)
]
ClipHigh = Annotated[
    float | None, flag(OF_RL, "--clip-high", "ε above 1 of the ratio. Default: the loss's own, mostly 0.2.", min=0.0)
]
ClipDual = Annotated[
    float, flag(OF_RL, "--clip-dual", "Bound of the ratio where the advantage is negative, above 1; 0: none.", min=0.0)
]
Divisor = Annotated[
    float, flag(OF_RL, "--divisor", "dr_grpo: tokens that every hypothesis' sum is divided by.", min=1.0)
]
RiskFlag = Annotated[
    Risk, flag(OF_RL, "--risk", "What mwer minimises: the word errors that `wer` counted, or the reward, negated.")
]
MwerFormFlag = Annotated[
    MwerForm, flag(OF_RL, "--mwer-form", "mwer: over the list of distinct hypotheses, or over all samples.")
]
MwerScale = Annotated[
    float,
    flag(OF_RL, "--mwer-scale", "mwer: times log P(y) of a hypothesis; 0: 1 / its tokens, 1: the paper's.", min=0.0),
]
MwerErrors = Annotated[
    ErrorUnit,
    flag(OF_RL, "--mwer-errors", "mwer: divide errors by their deviation in the group, or count: as the paper."),
]
CrossEntropy = Annotated[
    float, flag(OF_RL, "--ce", "Add this times the cross-entropy of the transcripts (`.json`), as sft has it.", min=0.0)
]
Gather = Annotated[
    int,
    flag(
        OF_RL,
        "--gather",
        "Dynamic sampling: one batch of N groups with non-zero reward variance; 0: a shard each.",
        min=0,
    ),
]
AllowStale = Annotated[
    bool, flag(OF_RL, "--allow-stale", "Accept rollouts of another policy version, by importance weights.")
]
Importance = Annotated[
    ImportanceKind, flag(OF_RL, "--importance", "Weights of fresh rollouts too, trainer over engine: how bounded.")
]
ImportanceCap = Annotated[float, flag(OF_RL, "--importance-cap", "Largest importance weight.", min=0.0)]
ImportanceFloor = Annotated[float, flag(OF_RL, "--importance-floor", "mask: the smallest one that is kept.", min=0.0)]
ImportanceLevelFlag = Annotated[
    ImportanceLevel, flag(OF_RL, "--importance-level", "A weight per token, or per sequence.")
]
TokenAsr = Annotated[
    Path | None, flag(OF_SPEECH, "--token-asr", "The reward: a recogniser that `arl train-token-asr` made.")
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
    GumbelNoise,
    flag(OF_SPEECH, "--gumbel", "Noise conditioned on its maximum being the sampled token, or fresh: unconditioned."),
]
Tau = Annotated[float, flag(OF_SPEECH, "--tau", "Temperature of the Gumbel-softmax.")]
BaseFlag = Annotated[Base, flag(OF_SPEECH, "--base", "The loss that combined adds DiffRO to.")]
DiffroWeight = Annotated[float, flag(OF_SPEECH, "--diffro-weight", "λ, DiffRO's weight in combined.", min=0.0)]
NoFilter = Annotated[
    bool, flag(OF_SPEECH, "--no-filter", "combined: DiffRO on all hypotheses, not only on those with A > 0.")
]
TrainProjector = Annotated[bool, flag(OF_SFT, "--train-projector", "Train the projector too, from feature shards.")]
Ctc = Annotated[float, flag(OF_SFT, "--ctc", "Weight of the CTC loss on the embeddings.", min=0.0)]
TokenDropout = Annotated[
    float,
    flag(OF_SFT, "--token-dropout", "Share of the tokens read in teacher forcing that are others.", min=0.0, max=0.9),
]
Lr = Annotated[float, flag(OF_OPTIMIZER, "--lr", "Learning rate.", min=0.0)]
Warmup = Annotated[int, flag(OF_OPTIMIZER, "--warmup", "Warm-up steps.", min=0)]
ScheduleFlag = Annotated[ScheduleKind, flag(OF_OPTIMIZER, "--schedule", "Of the learning rate, after the warm-up.")]
TotalSteps = Annotated[
    int, flag(OF_OPTIMIZER, "--total-steps", "The run's step at which the cosine ends; 0: this update's steps.", min=0)
]
MaxSteps = Annotated[int, flag(OF_OPTIMIZER, "--max-steps", "Stop after this many steps; 0: all.", min=0)]
WeightDecay = Annotated[float, flag(OF_OPTIMIZER, "--weight-decay", "AdamW decay of matrices.", min=0.0)]
MaxNorm = Annotated[float, flag(OF_OPTIMIZER, "--max-norm", "Gradient clipping; 0 is off.", min=0.0)]
FreshOptimizer = Annotated[bool, flag(OF_OPTIMIZER, "--fresh-optimizer", "Ignore saved optimizer state.")]
LoraRank = Annotated[
    int, flag(OF_LORA, "--lora-rank", "Train an adapter of this rank, not the weights; a policy keeps its own.", min=0)
]
LoraAlpha = Annotated[
    int, flag(OF_LORA, "--lora-alpha", "Its strength is alpha / rank. Default: twice the rank.", min=0)
]
LoraTargets = Annotated[
    str, flag(OF_LORA, "--lora-targets", "Its layers: q_proj,v_proj. Default: all linear ones of the decoder's blocks.")
]
Tokens = Annotated[
    int, flag(OF_COMPUTE, "--tokens", "Positions per micro-batch; changes no result. 0: the device's own.", min=0)
]
AutocastFlag = Annotated[
    Autocast, flag(OF_COMPUTE, "--autocast", "Dtype of matrix products; the weights keep their own.")
]
Checkpointing = Annotated[
    bool, flag(OF_COMPUTE, "--checkpointing", "Keep one activation per layer, compute the rest again: less memory.")
]
Offload = Annotated[
    bool, flag(OF_COMPUTE, "--offload", "Keep optimizer state and reference in host memory; no effect on a CPU.")
]
Compile = Annotated[bool, flag(OF_COMPUTE, "--compile", "Run the LLM's layers through torch.compile: slow to start.")]
SaveEvery = Annotated[int, flag(OF_COMPUTE, "--save-every", "Steps between resumable checkpoints; 0: none.", min=0)]


def update(
    shards: options.Shards,
    policy: options.PolicyDir = None,
    out: options.Out = None,
    loss: Loss = "grpo",
    epochs: Epochs = 1,
    shuffle: Shuffle = False,
    reference: Reference = None,
    beta: Beta = 0.1,
    kl: Kl = "k3",
    kl_ratio: KlRatio = False,
    clip_low: ClipLow = None,
    clip_high: ClipHigh = None,
    clip_dual: ClipDual = 0.0,
    divisor: Divisor = 256.0,
    risk: RiskFlag = "errors",
    mwer_form: MwerFormFlag = "list",
    mwer_scale: MwerScale = 0.0,
    mwer_errors: MwerErrors = "std",
    ce: CrossEntropy = 0.0,
    gather: Gather = 0,
    allow_stale: AllowStale = False,
    importance: Importance = "none",
    importance_cap: ImportanceCap = 2.0,
    importance_floor: ImportanceFloor = 0.5,
    importance_level: ImportanceLevelFlag = "token",
    token_asr: TokenAsr = None,
    head: Heads = None,
    gumbel: Gumbel = "sampled",
    tau: Tau = 1.0,
    base: BaseFlag = "grpo",
    diffro_weight: DiffroWeight = 1.0,
    no_filter: NoFilter = False,
    train_projector: TrainProjector = False,
    ctc: Ctc = 0.0,
    token_dropout: TokenDropout = 0.0,
    lr: Lr = 1e-6,
    warmup: Warmup = 0,
    schedule: ScheduleFlag = "constant",
    total_steps: TotalSteps = 0,
    max_steps: MaxSteps = 0,
    weight_decay: WeightDecay = 0.0,
    max_norm: MaxNorm = 1.0,
    fresh_optimizer: FreshOptimizer = False,
    lora_rank: LoraRank = 0,
    lora_alpha: LoraAlpha = 0,
    lora_targets: LoraTargets = "",
    tokens: Tokens = 0,
    autocast: AutocastFlag = "none",
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
    from arl.models import family_of
    from arl.models.token_asr.head import TokenAsrHead
    from arl.train.update import update_policy

    update_policy(
        UpdateSettings(
            loss=loss, beta=beta, kl=kl, kl_ratio=kl_ratio, clip_low=clip_low, clip_high=clip_high,
            clip_dual=clip_dual, divisor=divisor, risk=risk, mwer_form=mwer_form, mwer_scale=mwer_scale,
            mwer_errors=mwer_errors, ce=ce, importance=importance, importance_cap=importance_cap,
            importance_floor=importance_floor, importance_level=importance_level, epochs=epochs, gather=gather,
            allow_stale=allow_stale, train_projector=train_projector, ctc=ctc, token_dropout=token_dropout,
            lr=lr, warmup=warmup,
            schedule=schedule, total_steps=total_steps, max_steps=max_steps, weight_decay=weight_decay,
            max_norm=max_norm, fresh_optimizer=fresh_optimizer, tokens=tokens, autocast=autocast,
            checkpointing=checkpointing, offload=offload, compile=compile, seed=seed, lora_rank=lora_rank,
            lora_alpha=lora_alpha, lora_targets=tuple(name.strip() for name in lora_targets.split(",") if name.strip()),
            shuffle=shuffle,
            acoustic=AcousticSettings((), gumbel, tau, base, diffro_weight, not no_filter),
        ),
        shards, policy, out=out, reference=reference,
        token_asr=TokenAsrHead(token_asr) if token_asr else None, heads=head or [],
        frontend_loader=lambda opened: family_of(opened, "projector").load_frontend,
        device=device, threads=threads, save_every=save_every, force=force,
    )  # fmt: skip
