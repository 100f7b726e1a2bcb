"""Speech LLMs of transformers, tiny and random, in the layout of real checkpoints: every family, every check."""

import json
from pathlib import Path
from typing import Any

import torch

from arl.models import families
from arl.models.speech_lm.prompt import Ask, collapse
from arl.policy import Policy, load_tokenizer
from tests.models.speech_checkpoints import BEYOND, END, EOS
from tests.models.speech_lm_case import (
    FAMILIES,
    SECONDS,
    contents,
    every_family,
    full_scale,
    load_llm,
    prompt_embeddings,
)


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
