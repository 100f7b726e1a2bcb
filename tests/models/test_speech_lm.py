"""Speech LLMs of transformers, tiny and random, in the layout of real checkpoints: every family, every check."""

import json
import shutil
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import load_file, save_file

from arl.audio.io import encode_flac
from arl.cli.encode import encode
from arl.cli.update import update
from arl.engine.client import Completion
from arl.engine.generate import rollout_member
from arl.errors import ArlError, UsageError
from arl.models import InitOptions, families, recognised
from arl.models.checkpoint import Checkpoint
from arl.models.convert import export_policy
from arl.models.speech_lm.prompt import Ask, collapse
from arl.models.speech_lm.source import Source
from arl.policy import Policy, load_tokenizer
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import read_joined, read_shard
from arl.shards.writer import write_shard
from arl.train.data import sft_batch
from tests.models.speech_checkpoints import BEYOND, END, EOS, MAKERS, make_checkpoint
from tests.train.columns import make_rl_shards

FAMILIES = list(MAKERS)
SECONDS = 0.3, 3.7, 1.2
every_family = pytest.mark.parametrize("name", FAMILIES)


class Case:
    """A family's checkpoint and the policy made of it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.checkpoint = make_checkpoint(name, folder / "checkpoint")
        self.family: Any = recognised(Checkpoint(str(self.checkpoint)))
        self.policy = self.family.build(Checkpoint(str(self.checkpoint)), folder / "policy", InitOptions())
        self.folder = folder

    def wave(self, seconds: float) -> np.ndarray:
        rate = self.policy.fields["sample_rate"]
        return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32)

    @cached_property
    def processor(self) -> Any:
        return self.family.load_processor(self.checkpoint)

    @cached_property
    def tower(self) -> Any:
        from arl.models.speech_lm.tower import load_tower

        return load_tower(self.family, self.policy.frontend_dir)

    def full(self, folder: Path) -> Any:
        """transformers' own model, every tensor loaded."""
        model_class = self.family.model_class
        if self.family.prefix:
            stored = {n: t for shard in Source(folder, "", "").shards for n, t in load_file(shard).items()}
            weights = {self.family.renamed(n): t for n, t in stored.items()}
            place: Any = {"config": self.family.config(folder), "state_dict": weights}
            model, info = model_class.from_pretrained(None, **place, output_loading_info=True, dtype=torch.float32)
        else:
            model, info = model_class.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
        assert not info["missing_keys"] and not info["unexpected_keys"]
        return model.eval()

    def logits(self, model: Any, inputs: Any) -> torch.Tensor:
        torch.manual_seed(7)
        with torch.no_grad():
            return model(**inputs).logits[0]


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    torch.set_num_threads(1)
    yield cache(lambda name: Case(name, tmp_path_factory.mktemp(name.replace(".", ""))))


def load_llm(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def prompt_embeddings(llm: Any, ids: list[int], embeddings: torch.Tensor, audio_token_id: int) -> torch.Tensor:
    """[P, H] of a collapsed prompt."""
    place = ids.index(audio_token_id)
    table = llm.get_input_embeddings()
    with torch.no_grad():
        before, behind = (table(torch.tensor(part, dtype=torch.long)) for part in (ids[:place], ids[place + 1 :]))
    return torch.cat([before, embeddings, behind])


def full_scale(llm: Any) -> float:
    """transformers' whole Granite classes do not divide the logits; the plain class, trained and served, does."""
    return getattr(llm.config, "logits_scaling", 1.0)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@every_family
def test_encoded_clips_and_the_llm_are_the_full_model(cases: Any, name: str) -> None:
    case = cases(name)
    full = case.full(case.checkpoint)
    llm = load_llm(case.policy.llm_dir)
    token, rows, wanted = case.policy.audio_token_id, [], []
    for seconds in SECONDS:
        inputs = case.family.inputs(case.processor, case.wave(seconds), Ask())
        wanted.append(case.logits(full, inputs))
        ids = collapse(inputs["input_ids"][0].tolist(), token)
        rows.append(prompt_embeddings(llm, ids, case.tower.encode(inputs, 7), token))
        with torch.no_grad():
            alone = llm(inputs_embeds=rows[-1][None]).logits[0] * full_scale(llm)
        assert alone.shape == wanted[-1].shape and float((alone - wanted[-1]).abs().max()) <= 1e-5
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(row), dtype=torch.long) for row in rows], batch_first=True)
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    with torch.no_grad():
        together = llm(inputs_embeds=padded, attention_mask=mask).logits * full_scale(llm)
    for batched, logits in zip(together, wanted, strict=True):
        assert float((batched[: len(logits)] - logits).abs().max()) <= 1e-5


@every_family
def test_an_untrained_policy_goes_back_to_the_same_bytes(cases: Any, name: str) -> None:
    case = cases(name)
    case.family.export(case.policy, case.folder / "back")
    assert contents(case.folder / "back") == contents(case.checkpoint)


@every_family
def test_a_trained_policy_is_what_transformers_loads(cases: Any, name: str) -> None:
    case = cases(name)
    trained = case.folder / "trained"
    (trained / "frontend").parent.mkdir()
    (trained / "frontend").symlink_to(case.policy.frontend_dir)
    llm = load_llm(case.policy.llm_dir)
    with torch.no_grad():
        for number, parameter in enumerate(llm.parameters()):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)) * 0.02)
    llm.save_pretrained(trained / "llm")
    case.family.export(Policy(trained, case.policy.fields), case.folder / "exported")
    inputs = case.family.inputs(case.processor, case.wave(1.3), Ask())
    exported = case.full(case.folder / "exported")
    ids = collapse(inputs["input_ids"][0].tolist(), case.policy.audio_token_id)
    embeddings = case.tower.encode(inputs, 7)
    row = prompt_embeddings(llm, ids, embeddings, case.policy.audio_token_id)
    with torch.no_grad():
        wanted = llm(inputs_embeds=row[None]).logits[0] * full_scale(llm)
    assert float((case.logits(exported, inputs) - wanted).abs().max()) <= 1e-5


@pytest.mark.parametrize("name", ["qwen2-audio", "granite-speech"])  # the second has a LoRA of its own
def test_a_trained_adapter_is_merged_into_what_transformers_loads(cases: Any, name: str, tmp_path: Path) -> None:
    from arl.train.lora import start_llm

    case = cases(name)
    shards, out = make_rl_shards(tmp_path, case.policy, shards=1), tmp_path / "next"
    update(shards=shards, policy=case.policy.path, out=out, lora_rank=2, lr=0.1, threads=1, device="cpu")
    export_policy(out, tmp_path / "merged", slim=False, dtype="float32", merge=True)
    inputs = case.family.inputs(case.processor, case.wave(1.3), Ask())
    llm = start_llm(Policy.open(out), torch.device("cpu"))
    ids = collapse(inputs["input_ids"][0].tolist(), case.policy.audio_token_id)
    row = prompt_embeddings(llm, ids, case.tower.encode(inputs, 7), case.policy.audio_token_id)
    with torch.no_grad():
        wanted, before = (model(inputs_embeds=row[None]).logits[0] for model in (llm, load_llm(case.policy.llm_dir)))
    found = case.logits(case.full(tmp_path / "merged"), inputs)
    assert float((found - wanted * full_scale(llm)).abs().max()) <= 1e-5 < 1e-2 < float((wanted - before).abs().max())


@every_family
def test_what_the_policy_says(cases: Any, name: str) -> None:
    case = cases(name)
    policy = case.policy
    policy.verify()
    assert policy.fields["eos_token_id"] == [EOS, END]
    assert policy.prompt.count(policy.audio_token_id) == 1
    assert (policy.audio_token_id == BEYOND) == ("granite" in name)
    settings = json.loads((policy.llm_dir / "generation_config.json").read_text())
    assert not settings.keys() & {"temperature", "do_sample", "repetition_penalty"}
    assert "processor_class" not in (policy.llm_dir / "tokenizer_config.json").read_text()
    load_tokenizer(policy.llm_dir)
    assert len(policy.fields["probe"]["logprobs"]) > 0


def test_every_family_has_its_row() -> None:
    """The tests make a checkpoint of each family of speech LLMs."""
    found = {name for name, family in families().items() if hasattr(family, "model_class")}
    assert found == set(FAMILIES)


def test_a_family_says_little() -> None:
    """Its differences take under 40 lines."""
    root = Path(families.__wrapped__.__code__.co_filename).parent
    for name, family in families().items():
        if hasattr(family, "model_class"):
            file = root / type(family).__module__.rpartition(".")[2] / "__init__.py"
            assert len(file.read_text().splitlines()) < 40, name


# ---- the prompt ---------------------------------------------------------------------------------------------------


def shown(case: Case, ask: Ask) -> str:
    """A prompt as text, one <audio> for the clip."""
    inputs = case.family.inputs(case.processor, case.wave(0.5), ask)
    ids = collapse(inputs["input_ids"][0].tolist(), case.policy.audio_token_id)
    return load_tokenizer(case.policy.llm_dir).decode(ids, skip_special_tokens=False)


@every_family
def test_prompts_are_those_of_the_familys_own_processor(cases: Any, name: str) -> None:
    """With as many placeholders as embeddings, the ids are the processor's, for any length of clip."""
    case = cases(name)
    for seconds in SECONDS:
        inputs = case.family.inputs(case.processor, case.wave(seconds), Ask())
        ids = inputs["input_ids"][0].tolist()
        prompt = collapse(ids, case.policy.audio_token_id)
        place = prompt.index(case.policy.audio_token_id)
        embeddings = case.tower.encode(inputs, 0)
        expanded = [*prompt[:place], *[case.policy.audio_token_id] * len(embeddings), *prompt[place + 1 :]]
        assert expanded == ids


def test_language_and_hotwords_of_qwen3_asr(cases: Any) -> None:
    assert shown(cases("qwen3-asr"), Ask(language="en", keywords=("oak", "elm"))) == (
        "<|im_start|>system\noak elm<|im_end|>\n<|im_start|>user\n<bos><audio><eos><|im_end|>\n"
        "<|im_start|>assistant\nlanguage English<asr_text>"
    )


def test_language_and_hotwords_of_fun_asr(cases: Any) -> None:
    said = shown(cases("fun-asr-nano"), Ask("names of trees", "en", ("oak", "elm")))
    assert "<audio><eos>names of trees(oak, elm)[英文]<|im_end|>" in said


def test_an_instruction_with_the_audio_token_is_the_whole_prompt(cases: Any) -> None:
    whole = "<bos><audio><eos>Recognize the speech: "
    assert shown(cases("qwen2-audio"), Ask(whole)) == whole
    assert "<audio><eos>Recognize it.<|im_end|>" in shown(cases("qwen2-audio"), Ask("Recognize it."))


def test_vibevoice_says_how_long_the_clip_is(cases: Any) -> None:
    assert "0.50 s: <bos><audio>" in shown(cases("vibevoice-asr"), Ask())


def test_what_is_no_transcript_is_stripped_for_scoring_and_kept_for_training(cases: Any) -> None:
    policy = cases("qwen3-asr").policy
    words = load_tokenizer(policy.llm_dir)
    tokens = words.encode("language English<asr_text>so it is", add_special_tokens=False).ids
    hypothesis = Completion([*tokens, END], [-1.0] * (len(tokens) + 1), "stop", 1, 0)
    members = rollout_member([hypothesis], words, policy, 1.0)
    (row,) = json.loads(members[columns.ROLLOUT])["hyps"]
    assert row["text"] == "so it is" and row["tokens"] == [*tokens, END]


# ---- a shard, by the commands -------------------------------------------------------------------------------------


def write_clips(folder: Path, seconds: dict[str, float], **meta: Any) -> str:
    rng = np.random.default_rng(0)
    waves = {key: (0.1 * rng.standard_normal(round(s * 16_000))).astype(np.float32) for key, s in seconds.items()}
    fields = columns.dumps({"text": "one", **meta})
    rows = [(key, {"flac": encode_flac(wave, 16_000), columns.META: fields}) for key, wave in waves.items()]
    write_shard(folder / "000000.tar", rows)
    return str(folder)


def test_encode_one_shard(cases: Any, tmp_path: Path) -> None:
    case = cases("qwen2-audio")
    shards = write_clips(tmp_path / "data", {"a": 1.0, "long": 31.0, "b": 0.4})
    encode([shards], case.policy.path, tmp_path / "emb", device="cpu", threads=1, max_failed=1)
    long, *rest = sorted(read_shard(tmp_path / "emb" / "000000.tar"), key=lambda sample: sample.key != "long")
    assert long.json(columns.PROMPT)["error"] == "31.0 s long, and qwen2-audio hears 30 s: cut the recording"
    for sample, seconds in zip(rest, (1.0, 0.4), strict=True):
        embeddings = load_tensors(sample.members[columns.EMB])["emb"]
        assert embeddings.shape == (seconds * 25, 64)
        assert sample.json(columns.PROMPT) == {"input_ids": case.policy.prompt}


def test_encode_with_the_samples_language_and_keywords(cases: Any, tmp_path: Path) -> None:
    source = str(cases("qwen3-asr").checkpoint)
    family = families()["qwen3-asr"]
    options = InitOptions(language="sample", hotwords=True)
    policy = family.build(Checkpoint(source), tmp_path / "policy", options)
    shards = write_clips(tmp_path / "data", {"a": 0.6}, lang="de", keywords=["Eiche"])
    encode([shards], policy.path, tmp_path / "emb", device="cpu", threads=1)
    (sample,) = read_shard(tmp_path / "emb" / "000000.tar")
    said = load_tokenizer(policy.llm_dir).decode(sample.json(columns.PROMPT)["input_ids"], skip_special_tokens=False)
    assert "Eiche" in said and said.endswith("language German<asr_text>")
    assert "before" not in sample.json(columns.PROMPT)


def test_fun_asr_at_its_low_frame_rate(cases: Any, tmp_path: Path) -> None:
    """config.json asks for it: the first eighth of the frames, rounded up."""
    case = cases("fun-asr-nano")
    shutil.copytree(case.checkpoint, tmp_path / "checkpoint")
    fields = json.loads((tmp_path / "checkpoint/config.json").read_text())
    fields["adaptor_config"]["use_low_frame_rate"] = True
    (tmp_path / "checkpoint/config.json").write_text(json.dumps(fields))
    low = build(tmp_path / "checkpoint", tmp_path / "low")
    shards, found = write_clips(tmp_path / "data", {"a": 1.3}), []
    for number, policy in enumerate((case.policy, low)):
        encode([shards], policy.path, tmp_path / f"emb{number}", device="cpu", threads=1)
        (sample,) = read_shard(tmp_path / f"emb{number}" / "000000.tar")
        found.append(load_tensors(sample.members[columns.EMB])["emb"])
    whole, first = found
    assert len(whole) % 8 and first.equal(whole[: len(whole) // 8 + 1])
    assert low.fields["embedding_rate_hz"] == pytest.approx(case.policy.fields["embedding_rate_hz"] / 8, rel=0.05)


@pytest.mark.parametrize(("lang", "name"), [("en-GB", "English"), ("tlh", "None"), (None, "None")])
def test_supervised_training_teaches_what_qwen3_asr_writes_in_front(
    cases: Any, tmp_path: Path, lang: str | None, name: str
) -> None:
    policy = cases("qwen3-asr").policy
    shards = write_clips(tmp_path / "data", {"a": 0.6}, **({"lang": lang} if lang else {}))
    encode([shards], policy.path, tmp_path / "emb", device="cpu", threads=1)
    words = load_tokenizer(policy.llm_dir)
    samples = read_joined([tmp_path / "data" / "000000.tar", tmp_path / "emb" / "000000.tar"])
    ((response,),) = [group.responses for group in sft_batch(samples, words, END, "plain", False).groups]
    assert words.decode(response.tolist(), skip_special_tokens=False) == f"language {name}<asr_text>one<|im_end|>"


def test_a_prompt_beyond_the_llms_context(cases: Any, tmp_path: Path) -> None:
    case = cases("fun-asr-nano")
    short = Policy(case.policy.path, {**case.policy.fields, "context": 20})
    shards = write_clips(tmp_path / "data", {"a": 0.6})
    encoder = case.family.encoder(short, torch.device("cpu"), False)
    budget = FailureBudget(1)
    ((_, members, _),) = encoder.encode(encoder.read(read_shard(Path(shards) / "000000.tar")), 0.0, budget)
    assert b"positions, and the LLM 20: cut the recording" in members[columns.PROMPT]


def test_a_name_of_the_hub_without_network(cases: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache is used, its offline switch honoured, and the revision recorded."""
    from huggingface_hub import constants

    place, commit = tmp_path / "hub" / "models--org--asr", "c0ffee" + "0" * 34
    shutil.copytree(cases("qwen3-asr").checkpoint, place / "snapshots" / commit)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("org/asr", f"org/asr@{commit}"):
        checkpoint = Checkpoint(name)
        policy = recognised(checkpoint).build(checkpoint, tmp_path / "policy", InitOptions())
        assert policy.fields["source"] == name and policy.fields["revision"] == commit
        assert policy.version == cases("qwen3-asr").policy.version
    with pytest.raises(ArlError, match="nor on the hub"):
        recognised(Checkpoint("org/other"))


# ---- an update ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen3-asr", "qwen2-audio", "glm-asr", "phi-4-multimodal", "granite-speech"])
def test_an_update_that_changes_nothing_exports_the_same_bytes(name: str, tmp_path: Path) -> None:
    """Of a bfloat16 checkpoint, for each architecture of LLM: embeddings, an update with --lr 0, export."""
    checkpoint = make_checkpoint(name, tmp_path / "checkpoint", dtype="bfloat16")
    policy = build(checkpoint, tmp_path / "policy")
    one_end = Policy(policy.path, {**policy.fields, "eos_token_id": END})
    shards = make_rl_shards(tmp_path / "rl", one_end, shards=1, utterances=2)
    update(shards, policy.path, tmp_path / "next", lr=0.0, device="cpu", threads=1)
    updated = Policy.open(tmp_path / "next")
    assert updated.step == 1 and updated.fields["request"] == policy.fields["request"]
    families()[name].export(updated, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(checkpoint)


# ---- a LoRA beside the checkpoint ---------------------------------------------------------------------------------


def add_adapter(folder: Path, names: list[str], rank: int = 4) -> dict[str, torch.Tensor]:
    """Writes a LoRA as peft does; its change of each weight [64, 64], by name."""
    folder.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(5)
    weights, changes = {}, {}
    for name in names:
        a, b = torch.randn(rank, 64, generator=generator) * 0.1, torch.randn(64, rank, generator=generator) * 0.1
        weights[f"base_model.model.{name}.lora_A.weight"], weights[f"base_model.model.{name}.lora_B.weight"] = a, b
        changes[f"{name}.weight"] = 2.0 * (b @ a)
    save_file(weights, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj", "o_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return changes


@pytest.mark.parametrize(
    ("name", "place", "prefix"),
    [("granite-speech", "", "model.language_model"), ("phi-4-multimodal", "speech-lora", "model")],
)
def test_a_lora_is_merged_and_taken_out_again(name: str, place: str, prefix: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(name, tmp_path / "checkpoint", dtype="bfloat16")
    layers = [f"{prefix}.layers.{layer}.self_attn.o_proj" for layer in (0, 1)]
    changes = add_adapter(checkpoint / place, layers)
    family: Any = families()[name]
    policy = family.build(Checkpoint(str(checkpoint)), tmp_path / "policy", InitOptions())
    whole = family.model_class.from_pretrained(checkpoint, dtype=torch.float32).state_dict()
    full = {key.replace(".base_layer", ""): tensor for key, tensor in whole.items()}  # as peft wraps what it adapts
    llm = load_llm(policy.llm_dir).state_dict()
    for full_name, change in changes.items():
        merged = (full[full_name] + change).bfloat16().float()
        assert torch.equal(llm["model" + full_name.removeprefix(prefix)], merged)
    family.export(policy, tmp_path / "back")
    assert contents(tmp_path / "back") == contents(checkpoint)


# ---- what is refused ----------------------------------------------------------------------------------------------


def build(folder: Path, out: Path, options: InitOptions | None = None) -> Policy:
    checkpoint = Checkpoint(str(folder))
    return recognised(checkpoint).build(checkpoint, out, options or InitOptions())


@pytest.fixture
def checkpoint(cases: Any, tmp_path: Path) -> Path:
    """A copy to spoil."""
    shutil.copytree(cases("qwen3-asr").checkpoint, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def rewrite(folder: Path, change: Any) -> None:
    """Changes the tensors of the last shard, and the index with them."""
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    file = folder / max(index["weight_map"].values())
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})
    kept = {name: place for name, place in index["weight_map"].items() if place != file.name}
    index["weight_map"] = kept | dict.fromkeys(tensors, file.name)
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


NORM = "model.language_model.norm.weight"


def test_missing_extra_and_ill_shaped_tensors(checkpoint: Path, tmp_path: Path) -> None:
    rewrite(checkpoint, lambda tensors: tensors.update(stray=torch.zeros(2)))
    with pytest.raises(ArlError, match="tensor stray is none of Qwen3ASRForConditionalGeneration's"):
        build(checkpoint, tmp_path / "policy")
    rewrite(checkpoint, lambda tensors: (tensors.pop("stray"), tensors.pop(NORM)))
    with pytest.raises(ArlError, match=f"1 tensors are missing, first {NORM}"):
        build(checkpoint, tmp_path / "policy")
    rewrite(checkpoint, lambda tensors: tensors.update({NORM: torch.zeros(65)}))
    with pytest.raises(ArlError, match=rf"{NORM} is \[65\], and config.json makes it \[64\]"):
        build(checkpoint, tmp_path / "policy")
    assert not (tmp_path / "policy").exists()


def test_a_damaged_tower_is_one_line(cases: Any, tmp_path: Path) -> None:
    from arl.models.speech_lm.tower import load_tower

    case = cases("qwen3-asr")
    shutil.copytree(case.policy.frontend_dir, tmp_path / "frontend")
    file = max((tmp_path / "frontend" / "checkpoint").glob("*.safetensors"))
    whole = load_file(file)
    name = min(name for name in whole if name.endswith("weight"))
    for tensors, said in (
        ({**whole, name: whole[name] * torch.nan}, "has NaN or infinite values"),
        ({key: tensor for key, tensor in whole.items() if key != name}, "of the audio tower is missing"),
    ):
        save_file(tensors, file, metadata={"format": "pt"})
        with pytest.raises(ArlError, match=said):
            load_tower(case.family, tmp_path / "frontend")


def test_damaged_files(checkpoint: Path, tmp_path: Path) -> None:
    shard = sorted(checkpoint.glob("*.safetensors"))[0]
    data = shard.read_bytes()
    shard.write_bytes(data[:-5])
    with pytest.raises(ArlError, match="and its header says"):
        build(checkpoint, tmp_path / "policy")
    shard.write_bytes(b"\x80\x04 a pickle")
    with pytest.raises(ArlError, match="not a safetensors file"):
        build(checkpoint, tmp_path / "policy")
    shard.unlink()
    with pytest.raises(ArlError, match="is missing, and model.safetensors.index.json names it"):
        build(checkpoint, tmp_path / "policy")


def test_pickles(checkpoint: Path, tmp_path: Path) -> None:
    for file in checkpoint.glob("*.safetensors*"):
        file.unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(ArlError, match="its weights are pickles, which can run code"):
        build(checkpoint, tmp_path / "policy")


def test_the_same_weights_in_another_form_are_left_out(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkpoint / "consolidated.safetensors").write_bytes(b"")
    (checkpoint / "pytorch_model.bin").write_bytes(b"\x80\x04")
    policy = build(checkpoint, tmp_path / "policy")
    assert (
        "left out, as weights in another form: consolidated.safetensors, pytorch_model.bin" in capsys.readouterr().err
    )
    assert not list(policy.frontend_dir.rglob("*.bin"))


def test_flags_that_mean_nothing(cases: Any, tmp_path: Path) -> None:
    for name, options, line in (
        ("qwen3-asr", InitOptions(llm="new:64x1"), "it has its own LLM"),
        ("glm-asr", InitOptions(language="en"), "no place for --language"),
        ("qwen2-audio", InitOptions(hotwords=True), "no place for --hotwords"),
        ("qwen3-asr", InitOptions(language="tlh"), "does not take the request"),
    ):
        with pytest.raises(UsageError, match=line):
            build(cases(name).checkpoint, tmp_path / "policy", options)


def test_a_full_disk_is_noticed_first(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(ArlError, match="needs 0.0 GB, and the disk has 0.0 GB free"):
        build(checkpoint, tmp_path / "policy")
