"""TRL's side of benchmarks/trl_step.py: GRPOTrainer, one optimizer step per line on standard input.

Run by TRL's own environment; imports nothing of arl. Answers a JSON line per step: CPU and wall seconds, of which
generation. The first step's tokens, advantages and gradient are written as safetensors, so that the other side can
compute the same step. What TRL could do better than its defaults is set: no activation checkpointing (unless asked
for), no logging, no evaluation, generation for a whole step at once, and the micro-batch size that was fastest here.

    .bench/trl/bin/python benchmarks/trl_side.py settings.json < steps
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    settings = json.loads(Path(sys.argv[1]).read_text())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to standard error
    import torch

    torch.set_num_threads(settings["threads"])
    make_trainer(settings, Steps(settings, answers)).train()


class Clock:
    """CPU and wall seconds since `start`."""

    def start(self) -> None:
        self.began = time.process_time(), time.monotonic()

    def read(self) -> dict:
        return {"cpu_s": time.process_time() - self.began[0], "wall_s": time.monotonic() - self.began[1]}


class Steps:
    """Waits for a line before each optimizer step and answers after it."""

    def __init__(self, settings, answers) -> None:
        self.settings, self.answers = settings, answers
        self.step, self.generation = Clock(), Clock()
        self.generated: dict = {}
        self.first: dict = {}

    def say(self, **answer) -> None:
        print(json.dumps(answer), file=self.answers, flush=True)

    def callback(self):
        from transformers import TrainerCallback

        steps = self

        class Callback(TrainerCallback):
            def on_step_begin(self, args, state, control, **kwargs):
                steps.say(ready=True)
                if not sys.stdin.readline():
                    os._exit(0)
                steps.step.start()

            def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
                if steps.settings["dump"] and state.global_step == 0:
                    steps.dump(model)

            def on_step_end(self, args, state, control, **kwargs):
                steps.say(**steps.step.read(), **{f"generation_{k}": v for k, v in steps.generated.items()})

        return Callback()

    def watch(self, trainer) -> None:
        """Times `_generate` and keeps the first step's tokens."""
        generate, score = trainer._generate, trainer._generate_and_score_completions

        def timed_generate(*args, **kwargs):
            self.generation.start()
            try:
                return generate(*args, **kwargs)
            finally:
                self.generated = self.generation.read()

        def kept(*args, **kwargs):
            found = score(*args, **kwargs)
            if not self.first:
                names = ("prompt_ids", "completion_ids", "completion_mask", "advantages")
                self.first = {name: found[name].clone().contiguous() for name in names}
            return found

        trainer._generate, trainer._generate_and_score_completions = timed_generate, kept

    def dump(self, model) -> None:
        from safetensors.torch import save_file

        started = time.process_time(), time.monotonic()
        gradients = {f"gradient/{name}": p.grad.contiguous() for name, p in model.named_parameters()}
        save_file({**self.first, **gradients}, self.settings["dump"])
        cpu, wall = time.process_time() - started[0], time.monotonic() - started[1]
        self.step.began = self.step.began[0] + cpu, self.step.began[1] + wall


def make_trainer(settings, steps):
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    rows = settings["prompts"] * settings["group"]
    arguments = GRPOConfig(
        output_dir=settings["scratch"], use_cpu=True, bf16=False, report_to="none", save_strategy="no",
        logging_strategy="no", disable_tqdm=True, gradient_checkpointing=settings["checkpointing"],
        per_device_train_batch_size=settings["micro"], gradient_accumulation_steps=rows // settings["micro"],
        num_generations=settings["group"], max_completion_length=settings["response"],
        generation_kwargs={"min_new_tokens": settings["response"]}, temperature=1.0, shuffle_dataset=False,
        beta=0.1, loss_type="grpo", use_bias_correction_kl=False, learning_rate=settings["lr"],
        lr_scheduler_type="constant", max_grad_norm=settings["max_norm"], max_steps=1000, seed=0,
        model_init_kwargs={"dtype": torch.float32},
    )  # fmt: skip
    tokenizer = PreTrainedTokenizerFast.from_pretrained(settings["policy"])
    texts = [" ".join(f"w{token}" for token in prompt) for prompt in settings["prompt_ids"]]
    trainer = GRPOTrainer(
        model=settings["policy"], args=arguments, processing_class=tokenizer, reward_funcs=reward,
        train_dataset=Dataset.from_dict({"prompt": texts}), callbacks=[steps.callback()],
    )  # fmt: skip
    other = AutoModelForCausalLM.from_pretrained(settings["reference"], dtype=torch.float32)
    trainer.ref_model.load_state_dict(other.state_dict())  # so that the KL has a gradient in the first step
    steps.watch(trainer)
    return trainer


def reward(completion_ids, **_):
    """Something that differs between hypotheses and costs nothing."""
    return [float(sum(ids) % 17) for ids in completion_ids]


if __name__ == "__main__":
    main()
