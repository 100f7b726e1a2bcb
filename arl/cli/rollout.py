"""`arl rollout`: prompts → a group of hypotheses per utterance, from the resident engine.

    arl rollout --shards emb/ --group 12
    arl rollout --shards emb/000003.tar --tee | arl reward --shards - --shards data/000003.tar --with wer -o reward

All utterances of a shard are in flight at once; the engine computes each prompt once per group. A group is written
as soon as it and those before it have finished, so that with --tee rewards are computed meanwhile. Writes
`.rollout.json`: the policy's version, the temperature, and per hypothesis its text, tokens, log-probabilities
and how it finished. Left out: training data of any other kind; the reference transcript is never read here.
Where no engine runs, one is started for `--policy` (default: the policy the embeddings were made with) and stays.
"""

from typing import Annotated

import typer

from arl.cli import options


def rollout(
    shards: options.Shards,
    out: options.Out = None,
    group: Annotated[int, typer.Option("--group", "-g", min=1, help="Hypotheses per utterance, G.")] = 12,
    temperature: Annotated[
        float, typer.Option("--temperature", min=0.0, help="Sampling temperature; 0 is greedy.")
    ] = 1.0,
    top_p: Annotated[float, typer.Option("--top-p", min=0.0, max=1.0, help="Nucleus sampling; 1 is off.")] = 1.0,
    top_k: Annotated[int, typer.Option("--top-k", min=0, help="Sample of the K likeliest tokens; 0 is off.")] = 0,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", min=1, help="Longest hypothesis, in tokens.")
    ] = 256,
    tee: Annotated[
        bool,
        typer.Option("--tee", help="Write the shard to standard output too, as its groups finish."),
    ] = False,
    policy: options.PolicyDir = None,
    engine: options.EngineDir = options.DEFAULT_ENGINE,
    seed: options.Seed = 0,
    force: options.Force = False,
    max_failed: options.MaxFailed = 0,
) -> None:
    """Generate a group of hypotheses for each utterance.

    Example: arl rollout --shards emb/ --group 12
    """
    from arl.engine.rollout_stage import Sampling, roll_out

    sampling = Sampling(group, temperature, top_p, max_new_tokens, seed, top_k)
    roll_out(shards, out, sampling, policy=policy, engine=engine, tee=tee, force=force, max_failed=max_failed)
