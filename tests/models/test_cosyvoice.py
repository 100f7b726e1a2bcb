"""CosyVoice2 and 3, tiny and random, in the layout of what is downloaded: folder → policy → prompts → llm.pt again."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from arl.cli.main import make_app
from arl.errors import ArlError, UsageError
from arl.models.cosyvoice.layout import VERSION_3
from arl.models.cosyvoice.recipe import CLASS, read_recipe
from arl.policy import Policy, load_tokenizer
from arl.shards import columns
from arl.shards.reader import read_shard
from arl.shards.rows import Prompt
from arl.shards.writer import write_shard
from arl.train.data import read_clip
from arl.train.groups import PromptGroup, embed_prompt
from arl.train.step import Compute
from tests.models.cosyvoice_checkpoints import CODES, ROWS, make_cosyvoice

TEXTS = {"a": "the hen", "b": "he", "c": "<|endofprompt|>they [breath] go"}
both = pytest.mark.parametrize("version", (2, 3))


def arl(*words: object) -> None:
    result = CliRunner().invoke(make_app(), [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """By version the downloaded folder, its policy beside it."""
    place = tmp_path_factory.mktemp("cosyvoice")
    made = {version: make_cosyvoice(place / f"CosyVoice{version}", version) for version in ROWS}
    for version, folder in made.items():
        arl("init", "--from", folder, "-o", place / f"policy{version}")
    return made


def policy_of(folder: Path, version: int) -> Policy:
    return Policy.open(folder.parent / f"policy{version}")


def encoded(folder: Path, policy: Policy, *words: object, texts: dict[str, str] = TEXTS) -> dict[str, Any]:
    """By key the sample that `arl encode` has made of a text: a of ann, b of bob, others of eve."""
    speakers = {"a": "ann", "b": "bob"}
    rows = [
        (key, {columns.META: columns.dumps({"text": text, "lang": "en", "speaker": speakers.get(key, "eve")})})
        for key, text in texts.items()
    ]
    write_shard(folder / "texts" / "000000.tar", rows)
    arl("encode", "--shards", folder / "texts", "--policy", policy.path, "-o", folder / "emb", "-f", *words)
    return {sample.key: sample for sample in read_shard(folder / "emb" / "000000.tar")}


def embedded(sample: Any, policy: Policy, model: Any) -> torch.Tensor:
    """The prompt as the trainer embeds it, [P, H]."""
    clip = read_clip(sample, columns.EMB, columns.EMB_TENSOR)
    group = PromptGroup(sample.key, torch.tensor(Prompt.of(sample).input_ids), [clip], [torch.tensor([0])])
    return embed_prompt(model.get_input_embeddings(), group, policy.audio_token_id)


def upstream_prompt(tensors: dict[str, torch.Tensor], version: int, text: list[int], codes: list[int]) -> torch.Tensor:
    """`inference` of upstream's LM up to its first step, from llm.pt's own tensors: [P, H]."""
    words, speech = tensors["llm.model.model.embed_tokens.weight"], tensors["speech_embedding.weight"]
    sos, task = tensors["llm_embedding.weight"] if version == 2 else (speech[CODES], speech[CODES + 2])
    return torch.cat([sos[None], words[text], task[None], speech[codes]])


@torch.no_grad()
def upstream_log_probs(tensors: dict[str, torch.Tensor], prompt: torch.Tensor, response: list[int]) -> torch.Tensor:
    """Log-probabilities [R] of a response, by the Qwen2 of upstream's encoder and its own decoder."""
    from transformers import Qwen2Config, Qwen2Model

    from tests.models.cosyvoice_checkpoints import QWEN

    model = Qwen2Model(Qwen2Config(**{name: value for name, value in QWEN.items() if name != "architectures"})).eval()
    prefix = "llm.model.model."
    model.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    inputs = torch.cat([prompt, tensors["speech_embedding.weight"][response[:-1]]])
    hidden = model(inputs_embeds=inputs[None]).last_hidden_state[0, len(prompt) - 1 :]
    logits = torch.nn.functional.linear(hidden, tensors["llm_decoder.weight"], tensors.get("llm_decoder.bias"))
    return logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None])[:, 0]


# ---- the policy ---------------------------------------------------------------------------------------------------


@both
def test_the_policy_is_a_plain_lm_over_the_speech_vocabulary(folders, version):
    policy = policy_of(folders[version], version)
    assert policy.is_tts and policy.has_clips and policy.acoustic == (0, CODES)
    assert policy.end_ids[0] == {2: 6561, 3: 6562}[version]
    assert sorted(policy.end_ids) == list(range(CODES, CODES + ROWS[version]))
    assert policy.audio_token_id == CODES + ROWS[version] and policy.fields["sample_rate"] == 24000
    assert load_tokenizer(policy.llm_dir).decode([0, 17, CODES]) == ""
    policy.verify()


@both
def test_export_gives_llm_pt_again_bit_for_bit(folders, version, tmp_path):
    arl("export", "--policy", policy_of(folders[version], version).path, "-o", tmp_path / "out")
    ours, theirs = (torch.load(folder / "llm.pt", weights_only=True) for folder in (tmp_path / "out", folders[version]))
    assert list(ours) == list(theirs)
    assert all(ours[name].dtype == theirs[name].dtype and ours[name].equal(theirs[name]) for name in theirs)
    tied = "llm.model.lm_head.weight", "llm.model.model.embed_tokens.weight"
    assert ours[tied[0]].data_ptr() == ours[tied[1]].data_ptr()


def test_a_trained_weight_is_exported_under_its_upstream_name(folders, tmp_path):
    from arl.models.cosyvoice.export import upstream_tensors

    policy = policy_of(folders[2], 2)
    shutil.copytree(policy.path, tmp_path / "policy")
    weights = tmp_path / "policy" / "llm" / "model.safetensors"
    tensors = load_file(weights)
    tensors["lm_head.bias"] += 1
    tensors["model.layers.1.mlp.up_proj.weight"] *= 2
    save_file(tensors, weights)
    ours, theirs = upstream_tensors(Policy(tmp_path / "policy", policy.fields)), torch.load(folders[2] / "llm.pt")
    changed = [name for name in theirs if not ours[name].equal(theirs[name])]
    assert changed == ["llm.model.model.layers.1.mlp.up_proj.weight", "llm_decoder.bias"]


def test_the_recipes_tags_are_read_and_not_built(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cosyvoice2.yaml").write_text(
        "a: !apply:pathlib.Path.touch [evil]\nb: !new:pathlib.Path\n  x: !ref <c>\nc: 3\n"
    )
    recipe = read_recipe(tmp_path / "cosyvoice2.yaml")
    assert recipe == {"a": ["evil"], "b": {CLASS: "pathlib.Path", "x": 3}, "c": 3}
    assert [path.name for path in tmp_path.iterdir()] == ["cosyvoice2.yaml"]


def test_the_tokenizer_of_vocab_and_merges_is_qwen2s(folders):
    from transformers import Qwen2Tokenizer

    blank = folders[2] / "CosyVoice-BlankEN"
    theirs = Qwen2Tokenizer(vocab=str(blank / "vocab.json"), merges=str(blank / "merges.txt"))
    ours = load_tokenizer(policy_of(folders[2], 2).frontend_dir)
    for text in ("the hen's  2 eggs,\n\nhe said: 你好!", "  They'LL go\t\u0065\u0301 "):
        assert ours.encode(text, add_special_tokens=False).ids == theirs.encode(text, add_special_tokens=False)


# ---- prompts ------------------------------------------------------------------------------------------------------


@both
def test_next_token_log_probs_are_those_of_upstreams_sequence(folders, version, tmp_path):
    from arl.train.load import load_llm

    policy = policy_of(folders[version], version)
    tensors = torch.load(folders[version] / "llm.pt", weights_only=True)
    info = torch.load(folders[version] / "spk2info.pt", weights_only=True)["ann"]
    sample = encoded(tmp_path, policy, texts={"c": TEXTS["c"]})["c"]
    model = load_llm(policy.llm_dir, torch.device("cpu"))
    words = load_tokenizer(policy.frontend_dir).encode(TEXTS["c"], add_special_tokens=False).ids
    assert 256 + 2 + 3 in words  # <|endofprompt|>, behind <|endoftext|>, <|im_start|>, <|im_end|>
    text, codes = [*info["prompt_text"][0].tolist(), *words], info["llm_prompt_speech_token"][0].tolist()
    prompt = upstream_prompt(tensors, version, text, codes)
    assert embedded(sample, policy, model).equal(prompt)
    assert Prompt.of(sample).max_new_tokens == 20 * len(words) and Prompt.of(sample).voice == "ann"
    responses = [torch.tensor([7, 6560, 11, policy.eos_token_id]), torch.tensor([0, CODES + 2])]
    clip = read_clip(sample, columns.EMB, columns.EMB_TENSOR)
    group = PromptGroup("c", torch.tensor(Prompt.of(sample).input_ids), [clip], responses, [0.0, 0.0])
    ours = Compute(policy.audio_token_id).frozen_scores(model, [group])
    assert ours.min() > -30
    theirs = torch.cat([upstream_log_probs(tensors, prompt, response.tolist()) for response in responses])
    assert (ours - theirs).abs().max() <= 1e-5


def test_prompts_without_codes(folders, tmp_path):
    """Cross-lingual: bob has no text. Instruct: the instruction is in place of the voice's text."""
    policy = policy_of(folders[2], 2)
    tensors = torch.load(folders[2] / "llm.pt", weights_only=True)
    tokenizer = load_tokenizer(policy.frontend_dir)
    from arl.train.load import load_llm

    model = load_llm(policy.llm_dir, torch.device("cpu"))
    samples = encoded(tmp_path, policy)
    assert [Prompt.of(sample).voice for sample in samples.values()] == ["ann", "bob", "ann"]  # c's speaker is unknown
    text = tokenizer.encode(TEXTS["b"]).ids
    assert embedded(samples["b"], policy, model).equal(upstream_prompt(tensors, 2, text, []))
    arl("init", "--from", folders[2], "--instruction", "he whispers", "-o", tmp_path / "policy")
    told = Policy.open(tmp_path / "policy")
    for sample in encoded(tmp_path, told, "--voice", "ann").values():
        text = tokenizer.encode(f"he whispers<|endofprompt|>{TEXTS[sample.key]}").ids
        assert embedded(sample, told, model).equal(upstream_prompt(tensors, 2, text, []))
        assert Prompt.of(sample).voice == "ann"


def test_version_3_wants_the_end_of_the_prompt(folders, tmp_path):
    policy = policy_of(folders[3], 3)
    samples = encoded(tmp_path, policy, "--max-failed", 2)
    assert [key for key, sample in samples.items() if Prompt.of(sample).error is None] == ["c"]
    assert "wants <|endofprompt|> in front of the text" in Prompt.of(samples["a"]).error


def test_the_special_tokens_of_version_3_are_upstreams(folders):
    """280 names in upstream's order (cosyvoice/tokenizer/tokenizer.py), by a digest; a phone is one token."""
    names = "\n".join(VERSION_3.specials)
    assert (
        hashlib.sha256(names.encode()).hexdigest() == "4d5267643001673d742c7033834779c1e24f936caaf7a9ce850807222ee94b91"
    )
    second, third = (load_tokenizer(policy_of(folders[version], version).frontend_dir) for version in ROWS)
    first = 256 + 2 + 1  # behind the bytes, two merges and <|endoftext|>
    ids = [first + VERSION_3.specials.index(name) for name in ("[j]", "[ǐ]", "<|endofsystem|>", "[AH0]")]
    assert third.encode("[j][ǐ]<|endofsystem|>[AH0]", add_special_tokens=False).ids == ids
    assert len(second.encode("[j]", add_special_tokens=False).ids) == 3


def test_a_voice_of_ready_tensors(folders, tmp_path):
    voice = {"codes": torch.tensor([5, 6]), "mel": torch.randn(4, 80), "speaker": torch.randn(192)}
    save_file(voice, tmp_path / "carl.safetensors")
    arl("init", "--from", folders[2], "--voice", f"carl={tmp_path / 'carl.safetensors'}:they: go", "-o", tmp_path / "p")
    policy = Policy.open(tmp_path / "p")
    sample = encoded(tmp_path, policy, "--voice", "carl", texts={"a": "he"})["a"]
    assert Prompt.of(sample).input_ids == [policy.audio_token_id, 5, 6]
    words = load_tokenizer(policy.frontend_dir).encode("they: gohe").ids
    assert columns.tensor_info(sample, columns.EMB, columns.EMB_TENSOR).shape == (2 + len(words), 64)
    with pytest.raises(UsageError, match="--voice eve: the policy has carl, ann, bob"):
        encoded(tmp_path, policy, "--voice", "eve")


# ---- what is refused ----------------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return (Path("evil").touch, ())


def broken(kind: str, folder: Path) -> None:
    """Spoils a copy of CosyVoice2's folder."""
    llm = folder / "llm.pt"
    tensors = torch.load(llm, weights_only=True)
    if kind.endswith(" pickle"):
        file = folder / f"{kind.removesuffix(' pickle')}.pt"
        torch.save({**torch.load(file, weights_only=True), "evil": Evil()}, file)
    elif kind == "cut":
        llm.write_bytes(llm.read_bytes()[:100])
    elif kind == "missing files":
        (folder / "hift.pt").unlink()
        (folder / "CosyVoice-BlankEN" / "config.json").unlink()
    elif kind == "other recipe":
        recipe = folder / "cosyvoice2.yaml"
        recipe.write_text(recipe.read_text().replace("Qwen2LM", "CosyVoice3LM"))
    elif kind == "other llm":
        shutil.copyfile(folder.parent / "CosyVoice3" / "llm.pt", llm)
    elif kind == "no voice":
        (folder / "spk2info.pt").unlink()
    elif kind == "scalar":
        torch.save({**tensors, "epoch": 3}, llm)
    elif kind == "missing tensor":
        tensors.pop("llm.model.model.norm.weight")
        torch.save(tensors, llm)
    elif kind == "shape":
        torch.save({**tensors, "llm_embedding.weight": torch.zeros(3, 64)}, llm)
    elif kind == "other flow":
        shutil.copyfile(folder.parent / "CosyVoice3" / "flow.pt", folder / "flow.pt")
    elif kind == "building recipe":
        recipe = folder / "cosyvoice2.yaml"
        recipe.write_text("evil: !!python/object/apply:pathlib.Path.touch [evil]\n" + recipe.read_text())
    elif kind == "no tokenizer":
        (folder / "CosyVoice-BlankEN" / "merges.txt").unlink()
    elif kind == "two recipes":
        shutil.copyfile(folder.parent / "CosyVoice3" / "cosyvoice3.yaml", folder / "cosyvoice3.yaml")


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("llm pickle", "llm.pt: a pickle with more in it than tensors, which could run code"),
        ("flow pickle", "flow.pt: a pickle with more in it than tensors, which could run code"),
        ("hift pickle", "hift.pt: a pickle with more in it than tensors, which could run code"),
        ("spk2info pickle", "spk2info.pt: a pickle with more in it than tensors, which could run code"),
        ("cut", "llm.pt: cannot be read"),
        ("missing files", "no hift.pt, CosyVoice-BlankEN/config.json: download the whole folder"),
        ("other recipe", "cosyvoice2.yaml: its llm is cosyvoice.llm.llm.CosyVoice3LM, not Qwen2LM"),
        ("other llm", "has 6761 rows without llm_decoder.bias, and CosyVoice2 6564 rows with it: the file of another"),
        ("other flow", "flow.pt: tensor "),
        ("building recipe", "cosyvoice2.yaml: cannot be read as YAML"),
        ("no tokenizer", "no tokenizer.json, and no vocab.json and merges.txt to make it of"),
        ("no voice", "no voice, and no spk2info.pt: give --voice"),
        ("scalar", "epoch is no tensor"),
        ("missing tensor", "tensor llm.model.model.norm.weight is missing"),
        ("shape", r"tensor llm_embedding.weight is \[3, 64\], not \[2, 64\]"),
        ("two recipes", "several families take it: cosyvoice2, cosyvoice3"),
    ],
)
def test_a_broken_folder_is_one_line(folders, kind, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spoilt = folders[2].parent / kind
    shutil.copytree(folders[2], spoilt)
    broken(kind, spoilt)
    with pytest.raises(ArlError, match=line) as caught:
        arl("init", "--from", spoilt, "-o", tmp_path / "policy")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []


def test_flags_that_mean_nothing_are_refused(folders, tmp_path):
    for words, line in (
        (("--llm", "new:64x1"), "CosyVoice2 has its own LLM and prompt"),
        (("--voice", "ann"), "write NAME=FILE:TRANSCRIPT"),
        (("--voice", "ann=nowhere.wav:he"), "there is no file nowhere.wav"),
    ):
        with pytest.raises(UsageError, match=line):
            arl("init", "--from", folders[2], *words, "-o", tmp_path / "policy")
    with pytest.raises(UsageError, match="family whisper-qwen2 has no place for --voice"):
        arl("init", "--from", "whisper-tiny.en", "--voice", "a=b:c", "-o", tmp_path / "policy")
