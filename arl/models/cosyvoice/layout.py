"""Where the versions of CosyVoice differ: file names, rows of the speech vocabulary, and the prompt.

The LM's vocabulary is the speech vocabulary alone: C codes, then the version's own rows. All of those end a response,
as upstream stops at any of them, and nothing else is in it, so that no silent or unused token can be sampled.
"""

from dataclasses import dataclass

PREFIX = "llm.model.model."  # of the LM's layers in llm.pt
TEXT = f"{PREFIX}embed_tokens.weight"  # [text vocabulary, H]
HEAD_OF_TEXT = "llm.model.lm_head.weight"  # tied to it, unused
SPEECH, DECODER, BIAS = "speech_embedding.weight", "llm_decoder.weight", "llm_decoder.bias"
MARKS = "llm_embedding.weight"  # [2, H]: sos, task
PLAIN = {SPEECH: "model.embed_tokens.weight", DECODER: "lm_head.weight", BIAS: "lm_head.bias"}  # in `llm/`

END_OF_PROMPT = "<|endofprompt|>"
SPECIALS = (
    "<|im_start|>", "<|im_end|>", END_OF_PROMPT, "[breath]", "<strong>", "</strong>", "[noise]", "[laughter]",
    "[cough]", "[clucking]", "[accent]", "[quick_breath]", "<laughter>", "</laughter>", "[hissing]", "[sigh]",
    "[vocalized-noise]", "[lipsmack]", "[mn]",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """A version. recipe: its yaml; llm_class: what the yaml calls the LM; rows: of the speech vocabulary behind the
    codes; end: the row among them that training writes behind a response. sos, task: rows among them that frame the
    text; None where `llm_embedding` has them. needs_end_of_prompt: a prompt without the mark is refused, as upstream
    does."""

    title: str
    recipe: str
    llm_class: str
    rows: int
    end: int
    has_bias: bool
    tokenizer_onnx: str
    sos: int | None = None
    task: int | None = None
    needs_end_of_prompt: bool = False
    specials: tuple[str, ...] = SPECIALS

    def end_ids(self, n_codes: int) -> list[int]:
        """Token ids that end a response, the one that training writes first."""
        first = n_codes + self.end
        return [first, *(n_codes + row for row in range(self.rows) if row != self.end)]

    @property
    def tensors(self) -> set[str]:
        """Names of llm.pt's tensors outside the LM's layers, without the tied head, which may be left out."""
        return {TEXT, SPEECH, DECODER} | ({BIAS} if self.has_bias else set()) | ({MARKS} if self.sos is None else set())


VERSION_2 = Layout("CosyVoice2", "cosyvoice2.yaml", "Qwen2LM", 3, 0, True, "speech_tokenizer_v2.onnx")
VERSION_3 = Layout(
    "CosyVoice3", "cosyvoice3.yaml", "CosyVoice3LM", 200, 1, False, "speech_tokenizer_v3.onnx", 0, 2, True
)
