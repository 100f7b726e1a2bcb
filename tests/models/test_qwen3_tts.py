"""Qwen3-TTS, tiny and random, in the layout of what is downloaded: folder → policy → prompts, frames, waves → folder.

qwen3_tts_golden.json is what upstream's own code (qwen-tts 0.1.1 under transformers 4.57.3) gives of the same folder:
prompts, log-probabilities of forced frames, the predictor's likeliest codes, and the codec's waves.
"""

import filecmp
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from arl.cli.train_token_asr import train_token_asr
from arl.engine.predictor import CodePredictor, FrameHistory
from arl.errors import ArlError, UsageError
from arl.models import InitOptions, family_of, recognised
from arl.models.checkpoint import Checkpoint
from arl.policy import Policy
from arl.runtime.budget import FailureBudget
from arl.shards import columns
from arl.shards.reader import Sample, read_shard
from arl.shards.rows import Hypothesis
from arl.shards.writer import write_shard
from arl.train.checks import check_supervised
from arl.train.data import other_codes
from arl.train.groups import PromptGroup
from arl.train.load import load_llm
from arl.train.settings import UpdateSettings
from arl.train.shared_prefix import per_row_log_probs, shared_log_probs
from tests.models.qwen3_tts_checkpoints import CODEC, CODES, LEVELS, WIDTH, codec_tensors, config, make_qwen3_tts

GOLDEN = json.loads((Path(__file__).parent / "qwen3_tts_golden.json").read_text())
FRAMES = torch.tensor(GOLDEN["frames"])  # [6, 1 + L]
PROMPTS = [("the hen", "vivian", "english", ""), ("he", "eric", "", ""), ("they go", "vivian", "", "slowly")]


def build(folder: Path, out: Path, **options: Any) -> Policy:
    checkpoint = Checkpoint(str(folder))
    return recognised(checkpoint).build(checkpoint, out, InitOptions(**options))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_qwen3_tts(tmp_path_factory.mktemp("qwen3-tts") / "Qwen3-TTS")


@pytest.fixture(scope="module")
def policy(folder: Path) -> Policy:
    return build(folder, folder.parent / "policy", language="sample")


def maker(policy: Policy) -> Any:
    from arl.models.qwen3_tts.prompt import PromptMaker

    return PromptMaker(policy.frontend_dir, policy.frontend_dir / "checkpoint")


def encoder_of(policy: Policy) -> Any:
    return family_of(policy).encoder(policy, torch.device("cpu"), False)


def predictor_of(policy: Policy) -> CodePredictor:
    predictor, weights = CodePredictor.open(policy.frontend_dir)
    predictor.load_state_dict(weights)
    return predictor


def group_of(policy: Policy) -> PromptGroup:
    """Upstream's frames and the end, and the first two frames of them, behind the first prompt."""
    tokens = torch.cat([FRAMES[:, 0], torch.tensor([CODES])])
    return PromptGroup(
        "a", torch.tensor([policy.audio_token_id]), [maker(policy).prompt(*PROMPTS[0])], [tokens, tokens[:3]],
        residual=[FRAMES[:, 1:], FRAMES[:2, 1:]], history=FrameHistory.open(policy.frontend_dir),
    )  # fmt: skip


def test_the_policy_is_a_plain_lm_over_the_first_codes(policy):
    assert policy.is_tts and policy.has_clips and policy.acoustic == (0, CODES) and policy.end_ids == [CODES]
    assert json.loads((policy.llm_dir / "config.json").read_text())["vocab_size"] == CODES + 1
    assert predictor_of(policy).sampling == {"temperature": 0.8, "top_k": 9, "top_p": 1.0}
    policy.verify()


def test_prompts_are_upstreams(policy):
    for words, wanted in zip(PROMPTS, GOLDEN["prompts"], strict=True):
        made = maker(policy).prompt(*words)  # [T, H]
        weights = torch.arange(1, WIDTH + 1) / WIDTH
        assert torch.allclose(made @ weights, torch.tensor(wanted), atol=1e-4)


def test_log_probs_of_frames_are_upstreams(policy):
    model, group = load_llm(policy.llm_dir, torch.device("cpu")), group_of(policy)
    with torch.no_grad():
        shared = shared_log_probs(model, [group], policy.audio_token_id).log_probs
        rows = per_row_log_probs(model, [group], policy.audio_token_id)
    wanted = torch.tensor(GOLDEN["logprobs"])  # [7]
    assert float((shared - torch.cat([wanted, wanted[:3]])).abs().max()) <= 1e-5
    assert float((shared - rows).abs().max()) <= 1e-5


def test_the_other_codes_are_upstreams(policy):
    predictor = predictor_of(policy)
    predictor.sampling = {"temperature": 0.0, "top_k": 0, "top_p": 1.0}
    hidden, first = torch.tensor(GOLDEN["hidden"]), load_llm(policy.llm_dir, torch.device("cpu")).get_input_embeddings()
    made = predictor.sample(hidden, first(FRAMES[:, 0]), torch.zeros(6, dtype=torch.long), torch.arange(6))
    assert made.tolist() == GOLDEN["likeliest"]


def test_a_rows_draws_are_its_own(policy):
    predictor, hidden, first = predictor_of(policy), torch.randn(5, WIDTH), torch.randn(5, WIDTH)
    seeds, positions = torch.tensor([3, 3, 4, 3, 3]), torch.tensor([7, 8, 7, 7, 9])
    together = predictor.sample(hidden, first, seeds, positions)
    order = torch.tensor([4, 2, 0])
    assert predictor.sample(hidden[order], first[order], seeds[order], positions[order]).equal(together[order])
    same = [torch.stack([x[0]] * 3) for x in (hidden, first)]
    made = predictor.sample(*same, torch.tensor([1, 1, 2]), torch.tensor([5, 5, 5]))
    assert made.shape == (3, LEVELS) and made[0].equal(made[1])
    many = [torch.stack([x[0]] * 2000) for x in (hidden, first)]
    drawn = predictor.sample(*many, torch.arange(2000), torch.full((2000,), 5))[:, 0].bincount(minlength=CODES) / 2000
    inputs = predictor.small_to_mtp_projection(torch.stack([hidden[0], first[0]]))
    with torch.no_grad():
        logits = predictor.lm_head[0](predictor.model(inputs_embeds=inputs[None]).last_hidden_state[0, -1])
    best = (logits / 0.8).topk(9)
    wanted = torch.zeros(CODES).scatter(0, best.indices, best.values.softmax(-1))
    assert float((drawn - wanted).abs().max()) < 0.05  # 4.5 standard deviations


def test_waves_are_upstreams_alone_and_in_a_batch(policy):
    from arl.models.qwen3_tts.codec import CodecDecoder

    decoder = CodecDecoder(CODEC)
    decoder.load_state_dict({n[8:]: t for n, t in codec_tensors(0).items() if n[8:] in decoder.state_dict()})
    decoder.double()  # the same numbers on every processor
    for name in ("short", "long"):
        codes, wanted = torch.tensor(GOLDEN[name]["codes"]), torch.tensor(GOLDEN[name]["wave"])
        with torch.no_grad():
            made = decoder(codes[None])[0, :: GOLDEN[name]["every"]]
        assert float((made - wanted).abs().max()) <= 2e-5  # upstream's float32: 1.5e-5 from these
    synthesiser = family_of(policy, "decoder").synthesiser(policy, torch.device("cpu"), None)
    synthesiser.decoder.double()  # the random codec makes of a rounding in float32 more than it should
    clips = [[tuple(frame) for frame in FRAMES.tolist()[:length]] for length in (6, 2, 5)]
    together = synthesiser.decode(clips, ["vivian"] * 3, [""] * 3)
    for clip, wave in zip(clips, together, strict=True):
        (alone,) = synthesiser.decode([clip], ["vivian"], [""])
        assert alone.shape == wave.shape and float((alone - wave).abs().max()) <= 1e-6


def test_export_gives_the_folder_again_byte_for_byte(folder, policy, tmp_path):
    family_of(policy).export(policy, tmp_path / "out")
    for place in (".", "speech_tokenizer"):
        compared = filecmp.dircmp(folder / place, tmp_path / "out" / place)
        assert not (compared.left_only or compared.right_only or compared.diff_files)
        assert all(filecmp.cmp(folder / place / n, tmp_path / "out" / place / n, False) for n in compared.common_files)


def test_texts_are_encoded_by_their_speaker_and_language(policy):
    encoder = encoder_of(policy)
    fields = {"text": "the hen", "lang": "en", "speaker": "vivian"}
    members = encoder.members(Sample("a", {columns.META: columns.dumps(fields)}, {}))
    prompt = json.loads(members[columns.PROMPT])
    assert prompt == {"input_ids": [policy.audio_token_id], "voice": "vivian"}
    with pytest.raises(ArlError, match="language 'german': it speaks chinese, english, sichuan_dialect"):
        encoder.members(Sample("a", {columns.META: columns.dumps(fields | {"lang": "de"})}, {}))


def test_the_base_speaks_by_given_vectors(folder, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(folder, base)
    fields = config() | {"tts_model_type": "base"}
    fields["talker_config"] |= {"spk_id": {}, "spk_is_dialect": {}}
    (base / "config.json").write_text(json.dumps(fields))
    with pytest.raises(UsageError, match="the base, and it alone, speaks by vectors"):
        build(base, tmp_path / "policy")
    save_file({"speaker": torch.ones(WIDTH)}, tmp_path / "ann.safetensors")
    policy = build(base, tmp_path / "policy", voices=(f"ann={tmp_path / 'ann.safetensors'}",))
    with_voice, without = (maker(policy).prompt("he", name, "english") for name in ("ann", ""))
    pad = load_file(policy.frontend_dir / "predictor.safetensors")["pad"]
    assert len(with_voice) == len(without) + 1 and torch.allclose(with_voice[7], pad + 1)
    assert encoder_of(policy).voices == ["ann"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda fields, tensors: fields.update(tokenizer_type="qwen3_tts_tokenizer_25hz"),
            "Qwen3-TTS of 12 Hz",
        ),
        (
            lambda fields, tensors: fields["talker_config"].pop("rope_theta"),
            "no configuration of.*rope_theta",
        ),
        (lambda fields, tensors: tensors.pop("talker.model.norm.weight"), "tensor talker.model.norm.weight is missing"),
        (lambda fields, tensors: tensors.update(odd=torch.ones(1)), "tensor odd is none of Qwen3-TTS's"),
        (lambda fields, tensors: tensors.update({"talker.codec_head.weight": torch.ones(3, 2)}), r"is \[3, 2\], not"),
    ],
)
def test_what_is_not_whole_is_one_line(change, message, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "odd")
    fields, tensors = config(), load_file(folder / "model.safetensors")
    fields["talker_config"] = dict(fields["talker_config"])
    change(fields, tensors)
    (tmp_path / "odd" / "config.json").write_text(json.dumps(fields))
    save_file(tensors, tmp_path / "odd" / "model.safetensors")
    with pytest.raises(ArlError, match=message) as refused:
        build(tmp_path / "odd", tmp_path / "policy")
    assert "\n" not in str(refused.value) and not (tmp_path / "policy").exists()


def test_supervised_training_is_refused(policy):
    for settings in (UpdateSettings(loss="sft"), UpdateSettings(loss="dapo", ce=0.1)):
        with pytest.raises(UsageError, match="several codes a frame, and arl makes none of a recording"):
            check_supervised(settings, policy)


def test_recordings_make_no_codes_and_no_recogniser(policy, tmp_path, capsys):
    meta = columns.dumps({"text": "the hen", "lang": "en"})
    write_shard(tmp_path / "data" / "000000.tar", [("a", {"flac": b"never read", columns.META: meta})])
    encoder, samples = encoder_of(policy), list(read_shard(tmp_path / "data" / "000000.tar"))
    rows = [row for _ in range(2) for row in encoder.encode(encoder.read(samples), 0.0, FailureBudget(0))]
    assert capsys.readouterr().err.count("qwen3-tts makes no codes of recordings: the texts alone are encoded") == 1
    assert [set(members) for _, members, _ in rows] == [{columns.EMB, columns.PROMPT}] * 2
    write_shard(tmp_path / "emb" / "000000.tar", [(key, members) for key, members, _ in rows[:1]])
    shards = [str(tmp_path / "emb"), str(tmp_path / "data")]
    with pytest.raises(ArlError, match=r"no sample has codes .*'without_codes': 1.* unless it warns") as refused:
        train_token_asr(shards=shards, out=tmp_path / "asr", codes=CODES)
    assert "\n" not in str(refused.value) and not (tmp_path / "asr").exists()


def test_a_rollout_without_its_frames_is_one_line(policy):
    history, hyp = FrameHistory.open(policy.frontend_dir), Hypothesis("", [1, 2], [0.0, 0.0], "length")
    with pytest.raises(ArlError, match=f"a: a rollout without {LEVELS} other codes for each frame"):
        other_codes(Sample("a", {}, {}), hyp, history)
    with pytest.raises(ArlError, match=f"a frame has code {CODES}, of {CODES}"):
        other_codes(Sample("a", {}, {}), replace(hyp, residual=[[0, CODES, 1]]), history)
    assert [*Hypothesis.problems(replace(hyp, residual=[[1], [2]]).to_json())] == [
        "2 tokens, but the other codes of 2, not of all but the last"
    ]
    assert [*Hypothesis.problems(replace(hyp, residual=[[-1]]).to_json())] == [
        "'residual' is not a list of lists of codes"
    ]
