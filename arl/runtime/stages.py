"""The one table of commands: what the command line, the warm workers, the lease and the report know of each stage.

A stage is added by its module in `arl/cli/` and its row here. Light: every command line imports it, so no typing and
no dataclasses, which take longer to import than a warm command line has.

    BY_NAME["decode"].folder   # "wav"
"""

from __future__ import annotations

STAGES = "Stages, in the data's order"  # panels of `arl --help`
AROUND = "Around the loop"
LOOK = "Looking inside"


class Command:
    """A row: a command of `arl`, which is a stage where it has an output folder.

    name: as typed. target: "module:function", or "module:app" for a group of commands. panel: of the help.
    folder: what its output folder is called, beside the folder of its inputs. column: the member it adds to a sample.
    is_in_step: whether the loop runs it once per step, so that its folder lies in step-NNNNNN.
    preloads: modules its warm worker imports before the first job; None where it cannot be warm.
    keeps_models: whether its warm worker keeps models in host memory between jobs.
    uses_engine: whether the engine works for it; when any other command holds a GPU, the engine releases its memory.
    is_hidden: whether the help leaves it out.
    """

    def __init__(
        self,
        name: str,
        target: str,
        panel: str = AROUND,
        *,
        folder: str | None = None,
        column: str | None = None,
        is_in_step: bool = False,
        preloads: tuple[str, ...] | None = None,
        keeps_models: bool = False,
        uses_engine: bool = False,
        is_hidden: bool = False,
    ) -> None:
        self.name, self.panel, self.folder, self.column = name, panel, folder, column
        self.module, _, self.function = target.partition(":")
        self.is_in_step, self.uses_engine, self.is_hidden = is_in_step, uses_engine, is_hidden
        self.preloads, self.keeps_models = preloads, keeps_models


COMMANDS = (  # in the order of the help
    Command("data", "arl.cli.data:data"),
    Command("init", "arl.cli.init:init"),
    Command(
        "encode", "arl.cli.encode:encode", STAGES, folder="emb", column="emb.safetensors", keeps_models=True,
        preloads=("arl.models.encode_stage", "torch", "transformers", "arl.audio.io", "arl.shards.writer"),
    ),
    Command(
        "rollout", "arl.cli.rollout:rollout", STAGES, folder="rollout", column="rollout.json", is_in_step=True,
        uses_engine=True,
        preloads=("arl.engine.rollout_stage", "httpx", "tokenizers"),
    ),
    Command(
        "decode", "arl.cli.decode:decode", STAGES, folder="wav", column="00.flac", is_in_step=True, keeps_models=True,
        preloads=("arl.models.decode_stage", "torch", "torchaudio", "arl.audio.io", "arl.shards.writer"),
    ),
    Command(
        "reward", "arl.cli.reward:reward", STAGES, folder="reward", column="reward.json", is_in_step=True,
        preloads=("arl.rewards.programs.inprocess", "arl.text.wer", "arl.text.normalise", "rapidfuzz.distance"),
    ),
    Command(
        "update", "arl.cli.update:update", STAGES, folder="update", is_in_step=True, keeps_models=True,
        preloads=("arl.train.run", "arl.train.learner", "transformers.models.qwen2.modeling_qwen2"),
    ),
    Command(
        "sync", "arl.cli.sync:sync", STAGES, folder="sync", is_in_step=True, uses_engine=True,
        preloads=("arl.engine.sync_stage", "httpx"),
    ),
    Command("average", "arl.cli.average:average"),
    Command("mine", "arl.cli.mine:mine"),
    Command("train-token-asr", "arl.cli.train_token_asr:train_token_asr"),
    Command("eval", "arl.cli.evaluate:evaluate", uses_engine=True),
    Command("eval-speech", "arl.cli.evaluate_speech:evaluate_speech", is_hidden=True),  # one release more
    Command("report", "arl.cli.report:report", preloads=()),  # warm for the loop's line after each step
    Command("plan", "arl.cli.plan:plan"),
    Command("export", "arl.cli.export:export"),
    Command("ls", "arl.cli.inspect:ls", LOOK),
    Command("cat", "arl.cli.inspect:cat", LOOK),
    Command("check", "arl.cli.inspect:check", LOOK),
    Command("engine", "arl.cli.engine:app", uses_engine=True),
    Command("warm", "arl.cli.warm:app"),
)  # fmt: skip
BY_NAME = {command.name: command for command in COMMANDS}
CAN_BE_WARM = tuple(command.name for command in COMMANDS if command.preloads is not None)
STEP_FOLDERS = {command.name: command.folder for command in COMMANDS if command.folder and command.is_in_step}
