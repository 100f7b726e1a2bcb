"""What a speech LLM is told: language, hotwords, instruction; and what of its answer is no transcript."""

import json
from typing import Any

from arl.engine.client import Completion
from arl.engine.generate import rollout_member
from arl.models.speech_lm.prompt import Ask, collapse
from arl.policy import load_tokenizer
from arl.shards import columns
from tests.models.speech_checkpoints import END
from tests.models.speech_lm_case import Case


def shown(case: Case, ask: Ask) -> str:
    """A prompt as text, one <audio> for the clip."""
    inputs = case.family.inputs(case.processor, case.wave(0.5), ask)
    ids = collapse(inputs["input_ids"][0].tolist(), case.policy.audio_token_id)
    return load_tokenizer(case.policy.llm_dir).decode(ids, skip_special_tokens=False)


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
