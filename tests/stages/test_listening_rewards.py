"""Rewards by a recogniser, a speaker model or a classifier of one's own: tiny random ones, made by their libraries."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from arl.audio.io import encode_flac, load
from arl.errors import ArlError, UsageError
from arl.rewards.programs.utterance import RewardHypothesis, Utterance
from arl.shards.place import AudioSlice
from arl.text.normalise import normalise
from arl.text.wer import aligned
from tests.models.onnx_files import write_model, write_speaker_model
from tests.stages.test_speech_rewards import answers, sweep, voice

WAVES = [voice(150, 0.5), sweep(100, 300, 1.0), voice(220, 0.7), sweep(400, 150, 0.6)]


def clip_of(folder: Path, content: np.ndarray | bytes) -> AudioSlice:
    data = content if isinstance(content, bytes) else encode_flac(content)
    path = folder / hashlib.sha256(data).hexdigest()
    path.write_bytes(data)
    return AudioSlice(str(path), 0, len(data))


def speech(folder: Path, *contents: np.ndarray | bytes | None, ref: str = "go", lang: str = "en", **meta) -> Utterance:
    waves = [None if content is None else clip_of(folder, content) for content in contents]
    return Utterance("u", ref, lang, [RewardHypothesis("", [1], wav=wave) for wave in waves], meta=meta)


# ---- asr --by http --------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers each clip by its digest: (status, content), after what `before` does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.before = lambda digest: None
        self.asked: list[tuple[str, str, bytes]] = []

    def says(self, content: np.ndarray, status: int = 200, **fields: str) -> None:
        self.answers[hashlib.sha256(encode_flac(content)).hexdigest()] = status, json.dumps(fields).encode()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
        *fields, file = (part.partition(b"\r\n\r\n") for part in body.split(b"--" + boundary)[1:-1])
        digest = hashlib.sha256(file[2].removesuffix(b"\r\n")).hexdigest()
        self.server.asked.append((self.path, str(self.headers["Authorization"]), b"".join(map(b"".join, fields))))
        self.server.before(digest)
        status, content = self.server.answers[digest]
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def by_server(server: Server, options: str = "") -> str:
    return f"asr --by http --url http://127.0.0.1:{server.server_port}/v1 {options}"


def test_a_server_hears_the_group_at_once(server, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ARL_ASR_KEY", "a-secret")
    for wave, text in zip(WAVES, ("Please, go home!", "please go", "", "please go home now"), strict=True):
        server.says(wave, text=text)
    together = threading.Barrier(len(WAVES), timeout=10)  # nobody is answered before all have asked
    server.before = lambda digest: together.wait()
    what = speech(tmp_path, *WAVES, None, b"no audio", ref="please go home")
    found = answers(by_server(server, "--model tiny"), what)
    assert found.rewards == pytest.approx([1, 2 / 3, 0, 2 / 3, None, None])
    assert found.metrics["deletions"] == [0, 1, 3, 0, None, None] and found.metrics["length"][0] == 3
    path, key, fields = server.asked[0]
    sent = {"model": "tiny", "language": "en", "response_format": "json", "temperature": "0"}
    assert path == "/v1/audio/transcriptions" and key == "Bearer a-secret"
    assert all(f'name="{name}"\r\n\r\n{value}\r\n'.encode() in fields for name, value in sent.items())
    assert b"home" not in fields  # the text would help it
    said = capsys.readouterr().err
    assert said.count("excluded") == 1 and "secret" not in said


def test_a_request_that_fails_is_null_and_its_reason_said_once(server, tmp_path, capsys):
    good, busy, slow, odd = WAVES
    server.says(good, text="go")
    server.says(busy, status=500, error="out of memory")
    server.answers[hashlib.sha256(encode_flac(slow)).hexdigest()] = 200, b"too late"
    server.says(odd, words="go")
    html = voice(90, 0.4)
    server.answers[hashlib.sha256(encode_flac(html)).hexdigest()] = 200, b"<html>"
    late, slow_digest = threading.Event(), hashlib.sha256(encode_flac(slow)).hexdigest()
    server.before = lambda digest: late.wait(10) if digest == slow_digest else None
    what = speech(tmp_path, good, busy, slow, odd, html)
    for _ in range(2):
        assert answers(by_server(server, "--timeout 0.5"), what).rewards == [1, None, None, None, None]
    late.set()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4 and all("null for its hypotheses" in line for line in said)
    for reason in ('status 500: {"error": "out of memory"}', "no answer in 0.5 s", 'no "text"', "no JSON: <html>"):
        assert sum(reason in line for line in said) == 1
    assert server.asked[0][1] == "None"
    nobody = by_server(server).replace(str(server.server_port), "1")
    assert answers(nobody, speech(tmp_path, good)).rewards == [None]
    assert "ConnectError" in capsys.readouterr().err


def test_tones_are_ignored_by_choice(server, tmp_path):
    pytest.importorskip("pypinyin")
    for wave, text in zip(WAVES, ("卖一本书。", "买 一 本 书", "买一支笔", "hello world"), strict=True):
        server.says(wave, text=text)
    what = speech(tmp_path, *WAVES[:3], ref="买一本书", lang="zh")
    assert answers(by_server(server), what).rewards == pytest.approx([0.75, 1, 0.5])
    assert answers(by_server(server, "--unit pinyin"), what).rewards == pytest.approx([1, 1, 0.5])
    english = speech(tmp_path, WAVES[3], ref="hello world")
    with pytest.raises(UsageError, match="for waveforms of Mandarin .* language 'en'"):
        answers(by_server(server, "--unit pinyin"), english)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--by http", "needs --url, the server's address"),
        ("--by http --url localhost:8000", "--url 'localhost:8000': the server's address"),
        ("--by http --url http://a --timeout 0", "--timeout 0: both above 0"),
        ("--by policy", "needs --model, the folder of a recognition policy"),
        ("--unit pinyin --by tokens --model here --first 3", "for waveforms of Mandarin"),
    ],
)
def test_what_a_recogniser_needs(options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        answers(f"asr {options}", speech(tmp_path, WAVES[0], lang="zh"))


# ---- asr --by policy ------------------------------------------------------------------------------------------------


def greedy(policy, clip: AudioSlice, longest: int) -> str:
    """What a policy says of a clip alone: its encoder, and one token after the other without a cache."""
    import torch
    from transformers import AutoModelForCausalLM

    from arl.engine.generate import text_of
    from arl.models import family_of
    from arl.policy import load_tokenizer
    from arl.runtime.budget import FailureBudget
    from arl.shards import columns
    from arl.shards.reader import Sample

    encoder = family_of(policy).encoder(policy, torch.device("cpu"), False)
    ((_, members, _),) = encoder.encode(encoder.read([Sample("a", {"flac": clip.read()}, {})]), 60, FailureBudget(0))
    encoded = torch.from_numpy(
        columns.read_tensor(Sample("a", dict(members), {}), columns.EMB, columns.EMB_TENSOR).copy()
    )
    model, tokens = AutoModelForCausalLM.from_pretrained(policy.llm_dir).eval(), list[int]()
    table = model.get_input_embeddings()
    place = policy.prompt.index(policy.audio_token_id)
    before, behind = (
        table(torch.tensor(ids, dtype=torch.long)) for ids in (policy.prompt[:place], policy.prompt[place + 1 :])
    )
    with torch.no_grad():
        while len(tokens) < longest and not (tokens and tokens[-1] in policy.end_ids):
            rows = [before, encoded, behind, table(torch.tensor(tokens, dtype=torch.long))]
            tokens.append(int(model(inputs_embeds=torch.cat(rows)[None]).logits[0, -1].argmax()))
    return text_of(tokens, load_tokenizer(policy.llm_dir), policy)


def test_a_policy_of_ours_hears_as_it_recognises(tmp_path, monkeypatch):
    from arl.models import recogniser
    from arl.policy import Policy
    from tests.tiny_asr import make_tiny_asr_policy

    monkeypatch.setattr(recogniser, "LONGEST", 10)
    policy = Policy.open(make_tiny_asr_policy(tmp_path / "policy"))
    what = speech(tmp_path, *WAVES, None)
    heard = [greedy(policy, hyp.wav, 10) for hyp in what.hyps if hyp.wav is not None]
    assert len(set(heard)) > 1 and all(heard)
    what = replace(what, ref=heard[0])
    found = answers(f"asr --by policy --model {policy.path} --unit char", what)
    said, *others = (normalise(text, "en") for text in heard)
    assert found.rewards == pytest.approx([1, *(1 - aligned(said, text, True).errors.rate for text in others), None])
    with pytest.raises(ArlError, match="no such policy folder"):
        answers(f"asr --by policy --model {tmp_path}/nothing", what)
    assert_an_adapter_is_merged(policy)


def assert_an_adapter_is_merged(policy) -> None:
    """A policy's weights with an adapter are base + 3·B A."""
    import torch
    from safetensors.torch import save_file

    from arl.adapter import CONFIG, WEIGHTS
    from arl.models.recogniser import greedy_llm
    from arl.policy import Policy

    name = "model.layers.0.self_attn.q_proj"
    base = greedy_llm(policy).get_parameter(f"{name}.weight")
    a, b = torch.randn(2, base.shape[1]), torch.randn(base.shape[0], 2)
    (policy.path / "adapter").mkdir()
    factors = {"lora_A": a, "lora_B": b}
    save_file(
        {f"base_model.model.{name}.{side}.weight": x for side, x in factors.items()}, policy.path / "adapter" / WEIGHTS
    )
    (policy.path / "adapter" / CONFIG).write_text(json.dumps({"r": 2, "lora_alpha": 6, "target_modules": ["q_proj"]}))
    adapted = greedy_llm(Policy(policy.path, {**policy.fields, "base": policy.version}))
    torch.testing.assert_close(adapted.get_parameter(f"{name}.weight"), base + 3 * b @ a)


# ---- similarity, emotion --------------------------------------------------------------------------------------------


def cosine(a, b) -> float:
    a, b = (np.asarray(x, dtype=np.float64).flatten() for x in (a, b))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_similarity_by_a_speaker_model_in_onnx(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    from arl.models.cosyvoice.recording import Listener

    write_speaker_model(tmp_path / "campplus.onnx")
    listener = Listener(tmp_path, "none")
    own, *others = (listener.speaker(load(encode_flac(wave))) for wave in WAVES)
    what = speech(tmp_path, *WAVES, np.zeros(16000, np.float32), WAVES[0][:3200], b"no audio")
    what = replace(what, audio=what.hyps[0].wav)
    found = answers(f"similarity --model {tmp_path}/campplus.onnx", what).rewards
    assert found == pytest.approx([1.0, *(cosine(own, other) for other in others), None, None, None], abs=1e-5)
    assert min(found[1:4]) < 0.999
    write_model(tmp_path / "other.onnx")
    with pytest.raises(ArlError, match=r"other.onnx: (no ONNX model|takes )"):
        answers(f"similarity --model {tmp_path}/other.onnx", what)
    with pytest.raises(ArlError, match="none.onnx: missing; --model is a .onnx file or a checkpoint"):
        answers(f"similarity --model {tmp_path}/none.onnx", what)


@pytest.fixture(scope="module")
def sizes() -> dict:
    """Of a wav2vec-like network of one layer."""
    convolutions = {"conv_dim": (16, 16), "conv_kernel": (10, 8), "conv_stride": (10, 8), "num_feat_extract_layers": 2}
    positions = {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2}
    blocks = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    return {**convolutions, **positions, **blocks}


def saved(model, folder: Path):
    """The model, and its features, as its own library gives them."""
    from transformers import Wav2Vec2FeatureExtractor

    model.eval().save_pretrained(folder)
    extractor = Wav2Vec2FeatureExtractor()
    extractor.save_pretrained(folder)
    return lambda wave: model(**extractor(wave, sampling_rate=16000, return_tensors="pt"))


def test_similarity_by_an_x_vector_of_transformers(tmp_path, sizes):
    import torch
    from transformers import WavLMConfig, WavLMForXVector

    torch.manual_seed(0)
    tdnn = {"tdnn_dim": (16, 16), "tdnn_kernel": (3, 1), "tdnn_dilation": (1, 1), "xvector_output_dim": 12}
    run = saved(WavLMForXVector(WavLMConfig(**sizes, **tdnn)), tmp_path / "wavlm")
    with torch.no_grad():
        own, *others = (run(wave).embeddings[0].numpy() for wave in WAVES)
    what = speech(tmp_path, *WAVES)
    what = replace(what, audio=what.hyps[0].wav)
    found = answers(f"similarity --model {tmp_path}/wavlm", what).rewards
    assert found == pytest.approx([1.0, *(cosine(own, other) for other in others)], abs=2e-4)  # of 16 bits
    with pytest.raises(ArlError, match="no checkpoint of AutoModelForAudioXVector"):
        answers(f"similarity --model {tmp_path}", what)


def test_emotion_is_the_probability_of_a_label(tmp_path, sizes, capsys):
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForSequenceClassification

    torch.manual_seed(0)
    labels = {0: "Happy", 1: "sad", 2: "calm"}
    config = Wav2Vec2Config(
        **sizes, classifier_proj_size=8, id2label=labels, label2id={v: k for k, v in labels.items()}
    )
    model = Wav2Vec2ForSequenceClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(20)
    run = saved(model, tmp_path / "one")
    with torch.no_grad():
        scores = torch.stack([run(wave).logits[0] for wave in WAVES])
    what = speech(tmp_path, *WAVES, None, b"no audio", WAVES[0][:1000], style="SAD")
    spec = f"emotion --model {tmp_path}/one"
    found = answers(f"{spec} --label happy", what)
    assert found.rewards == pytest.approx([*scores.softmax(-1)[:, 0].tolist(), None, None, None], abs=1e-3)
    assert found.metrics["is_first"] == [*(scores.argmax(-1) == 0).int().tolist(), None, None, None]
    assert answers(f"{spec} --field style", what).rewards[:4] == pytest.approx(
        scores.softmax(-1)[:, 1].tolist(), abs=1e-3
    )
    model.config.problem_type = "multi_label_classification"
    saved(model, tmp_path / "many")
    many = answers(f"emotion --model {tmp_path}/many --label calm", what)
    assert many.rewards[:4] == pytest.approx(scores.sigmoid()[:, 2].tolist(), abs=1e-3)
    capsys.readouterr()
    assert answers(f"{spec} --field mood", what).rewards == [None] * 7
    assert "u: no field 'mood', not one of Happy, sad, calm; excluded" in capsys.readouterr().err
    with pytest.raises(ArlError, match="no label 'angry'; it has Happy, sad, calm"):
        answers(f"{spec} --label angry", what)
    with pytest.raises(UsageError, match="emotion needs --model, a checkpoint, and --label NAME or --field NAME"):
        answers(spec, what)
