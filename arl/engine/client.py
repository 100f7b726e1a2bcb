"""Talk to the engine: generate groups, score tokens, update weights, release and resume memory.

A group is two requests: one that only runs the prompt into the prefix cache, then one with all G seeds, so
a prompt is computed once however many hypotheses it gets; of several replicas, one takes both. Token ids in and out;
embeddings by reference.
Left out: text, and HTTP (connection.py). Light: no torch, no sglang.

    engine = Engine(connect()); group = await engine.generate_group(prompt, [reference], seeds=range(12))
"""

import asyncio
import json
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from arl.engine.connection import Connection, EngineGone, Refused
from arl.engine.processes import ROOTS
from arl.engine.queue import Metrics, Queue
from arl.engine.served_model import STRUCTURE_FILE, ServedModel
from arl.engine.sglang_models import RESIDUAL
from arl.engine.state import EngineInfo, last_info, record_awake, record_served
from arl.engine.update import UNDEFINED, update
from arl.errors import ArlError
from arl.shards.rows.rollout import Finish

__all__ = ["Engine", "EngineGone", "CompletionGroup", "GroupFailed", "Completion", "Metrics"]

PER_SAMPLE = {"input_ids", "audio_data", "lora_path"}  # of a batch request; the other fields are of the whole
RETRY_AFTER_S = 0.5
IDLE_S = 30


class GroupFailed(ArlError):
    """One group's request was refused or failed twice: that utterance is bad data, the engine goes on."""


@dataclass(frozen=True)
class Completion:
    """One sampled response. `tokens` ends with the stop token when `finish` is "stop" (else "length");
    `logprobs`, one per token, are of log_softmax(logits / temperature); the counts are the engine's own. `residual`: of
    a model whose frames have other codes, those of each token but the last [R - 1][L]."""

    tokens: list[int]
    logprobs: list[float]
    finish: Finish
    prompt_tokens: int
    cached_tokens: int
    residual: list[list[int]] = field(default_factory=list)


@dataclass(frozen=True)
class CompletionGroup:
    """The hypotheses of one utterance in the order of the seeds. `prompt_tokens` is the prompt's length with its
    audio, `prefilled_tokens` how many prompt tokens were computed for all of them together."""

    hypotheses: list[Completion]
    prompt_tokens: int
    prefilled_tokens: int


class Engine:
    """A client of one running engine. `async with engine:` closes its connections at the end of an event loop."""

    def __init__(self, info: EngineInfo, timeout_s: float = 1800) -> None:
        self.served = info
        self.state_dir = Path(info.log).parent
        self._connection = Connection(info, timeout_s)
        self._metrics = Metrics()
        self._adapter = info.adapter  # that requests name
        self._folders: set[str] = set()  # that the engine may read, as far as this client has asked
        self._turn = 0  # of the replicas: the next group goes to this one

    async def __aenter__(self) -> "Engine":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._connection.close()

    def is_ready(self) -> bool:
        """Whether it takes requests now; on another node than the first, whether its part is there."""
        try:
            self._connection.call("GET", "/health" if self.served.node_rank else "/ready", timeout_s=5)
        except (EngineGone, Refused):
            return False
        return True

    def version(self) -> str:
        """The version of the weights it serves, as the engine says."""
        return str(self._connection.call("GET", "/model_info")["weight_version"])

    def versions(self) -> list[str]:
        """The version of the weights of each replica, as its own scheduler says: [dp]."""
        return [str(state["weight_version"]) for state in self.info()["internal_states"]]

    def info(self) -> dict[str, Any]:
        """SGLang's arguments and live state, without the key."""
        shown = json.dumps(self._connection.call("GET", "/server_info"))
        return json.loads(shown.replace(self.served.api_key, "..."))  # it is in several places

    def metrics(self) -> Metrics:
        """Token counts of this client so far."""
        return self._metrics

    async def queue(self) -> Queue:
        """How many requests it works on and how many wait, now."""
        return Queue.of(await self._connection.get("/v1/loads"))

    def flush_cache(self) -> None:
        """Forget all cached prompts, as soon as no request runs. Refused if some still do after IDLE_S."""
        self._connection.call("POST", f"/flush_cache?timeout={IDLE_S}")

    def update_weights(self, model: ServedModel) -> None:
        """Load another checkpoint of the same model, stamp its version and forget cached prompts.

        ArlError before anything is sent when it is not the same model: the engine keeps its weights. ArlError
        after a load that failed half-way: the engine's version is then "undefined", a good update repairs it.
        """
        model.check_same(json.loads((self.state_dir / STRUCTURE_FILE).read_text()))
        folder, info = model.llm_dir.absolute().parent, last_info(self.state_dir) or self.served
        try:
            self._adapter = update(self._connection, self.state_dir, info, model)
        except Refused as error:
            self._connection.call("POST", "/update_weight_version", {"new_version": UNDEFINED})
            raise ArlError(f"{folder}: {error}; the engine is unusable until a good `arl sync`") from error
        record_served(self.state_dir, str(folder), model.version, model.file_version, self._adapter)

    def release(self) -> None:
        """Give the device's memory back: weights, cache and graphs. Running requests are aborted.

        Refused, EngineGone: it generates again then, as a pause that nobody ends would hang the next rollout.
        """
        self._connection.call("POST", "/pause_generation", {"mode": "abort"})
        try:
            self.flush_cache()  # waits until it is idle; a busy engine would ignore the release
            record_awake(self.state_dir, False)  # before: a crash in between means one resume too many: harmless
            self._connection.call("POST", "/release_memory_occupation", {})
        except (Refused, EngineGone):
            with suppress(Refused, EngineGone):
                self._connection.call("POST", "/continue_generation", {})
            raise

    def resume(self, model: ServedModel) -> None:
        """Take the memory again. Released weights are not kept, so they are loaded anew from the model's folder."""
        self._connection.call("POST", "/resume_memory_occupation", {"tags": ["weights"]})
        self.update_weights(model)
        self._connection.call("POST", "/resume_memory_occupation", {"tags": ["kv_cache", "cuda_graph"]})
        self._connection.call("POST", "/continue_generation", {})
        record_awake(self.state_dir, True)

    def wake(self, model: ServedModel) -> None:
        """Take the memory again if it was released, with this model's weights. Call it under the device lease."""
        info = last_info(self.state_dir)
        if info is not None and not info.awake:
            self.resume(model)

    async def generate_group(
        self,
        input_ids: Sequence[int],
        audio: Sequence[dict[str, Any]] = (),
        seeds: Sequence[int] = (0,),
        temperature: float = 1.0,
        top_p: float = 1.0,
        max_new_tokens: int = 128,
        top_k: int = 0,
        greedy: bool = False,
    ) -> CompletionGroup:
        """Sample one response per seed to the same prompt (`greedy`: one response, no seeds). top_k: 0 is off.

        `input_ids` has one `audio_token_id` per entry of `audio`: {"path", "offset" (bytes), "dtype", "shape":
        [T, H]}. Call it for as many utterances at once as there are. GroupFailed: refused, or failed twice.
        """
        prompt = self._prompt(input_ids, audio) | self._route()
        sampling = {
            "max_new_tokens": max_new_tokens,
            "temperature": 0.0 if greedy else temperature,
            "top_p": 1.0 if greedy else top_p,
            "top_k": -1 if greedy else top_k or -1,
            "min_p": 0.0,
            "stop_token_ids": self.served.end_ids,
            "sampling_seed": 0,  # of a greedy response: a frame's other codes are sampled all the same
        }
        if greedy:
            answers = await self._generate({**prompt, "sampling_params": sampling, "return_logprob": True})
            costs = answers
        else:
            prefill = await self._generate({**prompt, "sampling_params": {"max_new_tokens": 0}})
            answers = await self._generate(_repeat(prompt, sampling, seeds))
            costs = prefill + answers
        hypotheses = [self._completion(answer) for answer in answers]
        self._metrics.groups += 1
        counts = [answer["meta_info"] for answer in costs]
        prefilled = sum(meta["prompt_tokens"] - meta["cached_tokens"] for meta in counts)
        return CompletionGroup(hypotheses, hypotheses[0].prompt_tokens, prefilled)

    async def score(
        self, input_ids: Sequence[int], audio: Sequence[dict[str, Any]], tokens: Sequence[int], replica: int = 0
    ) -> list[float]:
        """Natural log-probabilities (temperature 1) of `tokens` as the response to a prompt, one per token."""
        prompt = self._prompt([*input_ids, *tokens], audio) | self._route(replica)
        length = len(input_ids) + sum(clip["shape"][0] - 1 for clip in audio)
        # The first log-prob of the answer is that of the token *after* logprob_start_len's own.
        scoring = {"sampling_params": {"max_new_tokens": 0}, "return_logprob": True, "logprob_start_len": length - 1}
        (answer,) = await self._generate({**prompt, **scoring})
        scored = answer["meta_info"]["input_token_logprobs"][-len(tokens) :]
        if len(scored) != len(tokens) or any(entry[0] is None for entry in scored):
            raise self._failed(f"asked to score {len(tokens)} tokens, the engine scored {scored}")
        return [float(entry[0]) for entry in scored]

    def _route(self, replica: int | None = None) -> dict[str, int]:
        """The field that sends a request to one replica: the given one, else to each in turn. {} where there is one."""
        if self.served.dp == 1:
            return {}
        if replica is None:
            replica, self._turn = self._turn, (self._turn + 1) % self.served.dp
        return {"routed_dp_rank": replica}

    def _prompt(self, input_ids: Sequence[int], audio: Sequence[dict[str, Any]]) -> dict[str, Any]:
        placeholders = list(input_ids).count(self.served.audio_token_id)
        if placeholders != len(audio):  # SGLang takes a placeholder without audio for a token, silently
            raise self._failed(f"{len(audio)} clip(s) for {placeholders} placeholder(s) in the prompt")
        prompt: dict[str, Any] = {"input_ids": [int(token) for token in input_ids]}
        if self._adapter:
            prompt["lora_path"] = self._adapter
        if audio:
            self._allow({os.path.dirname(os.path.abspath(clip["path"])) for clip in audio})
            prompt["audio_data"] = [_reference(clip) for clip in audio]
        return prompt

    def _allow(self, folders: set[str]) -> None:
        """Lets the engine read shards of these folders: it reads no others, and follows no link out of them."""
        new = sorted(folders - self._folders)
        path = Path(self.served.temporary) / ROOTS
        if new and path.is_file():  # the engine of another version reads every shard
            with path.open("a") as file:
                file.write("".join(f"{json.dumps(os.path.realpath(folder))}\n" for folder in new))
        self._folders |= folders

    def _completion(self, answer: dict[str, Any]) -> Completion:
        meta = answer["meta_info"]
        tokens, logprobs = list(answer["output_ids"]), [entry[0] for entry in meta["output_token_logprobs"]]
        if len(tokens) != len(logprobs) or any(value is None or not math.isfinite(value) for value in logprobs):
            raise self._failed(f"{len(tokens)} tokens came with log-probabilities {logprobs[:3]}")
        self._metrics.generated_tokens += len(tokens)
        residual = meta.get(RESIDUAL, [])[1:]  # the first came with the prompt, which has none
        if RESIDUAL in meta and (len(residual) != len(tokens) - 1 or not all(residual)):
            raise self._failed(f"{len(tokens)} tokens came with the other codes of {len(residual)}")
        finish = meta["finish_reason"]["type"]
        return Completion(tokens, logprobs, finish, meta["prompt_tokens"], meta["cached_tokens"], residual)

    async def _generate(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        """POST /generate, tried again once unless the request itself is at fault; one answer per prompt."""
        where = f" (replica {body['routed_dp_rank']})" if "routed_dp_rank" in body else ""
        try:
            return await self._attempt(body)
        except EngineGone:
            pass
        except Refused as error:
            if error.status == 400:
                raise self._failed(f"{error}{where}") from error
        await asyncio.sleep(RETRY_AFTER_S)
        try:
            return await self._attempt(body)
        except Refused as error:
            raise self._failed(f"twice: {error}{where}") from error

    async def _attempt(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        content = await self._connection.post("/generate", body)
        answers = content if isinstance(content, list) else [content]
        for answer in answers:
            reason = answer["meta_info"]["finish_reason"]
            if reason["type"] == "abort":
                raise Refused(f"aborted: {reason.get('message')}", reason.get("status_code") or 500)
        for answer in answers:
            self._metrics.prompt_tokens += answer["meta_info"]["prompt_tokens"]
            self._metrics.cached_tokens += answer["meta_info"]["cached_tokens"]
        return answers

    def _failed(self, reason: str) -> GroupFailed:
        self._metrics.failed += 1
        return GroupFailed(reason)


def _repeat(prompt: dict[str, Any], sampling: dict[str, Any], seeds: Sequence[int]) -> dict[str, Any]:
    """One batch request: the same prompt once per seed."""
    if not seeds:
        raise GroupFailed("a group needs at least one seed")
    repeated: dict[str, Any] = {name: [prompt[name]] * len(seeds) for name in prompt.keys() & PER_SAMPLE}
    body = {**prompt, **repeated}
    body["sampling_params"] = [{**sampling, "sampling_seed": int(seed)} for seed in seeds]
    return {**body, "return_logprob": True}


def _reference(clip: dict[str, Any]) -> str:
    """SGLang refuses unknown fields in audio_data but passes strings through to our processor."""
    return "arl:" + json.dumps({**clip, "path": os.path.abspath(clip["path"])})
