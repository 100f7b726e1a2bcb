"""Where the versions of CosyVoice differ: file names, rows of the speech vocabulary, and the prompt.

The LM's vocabulary is the speech vocabulary alone: C codes, then the version's own rows. All of those end a response,
as upstream stops at any of them, and nothing else is in it, so that no unused token can be sampled.
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
PHONES = (  # of English and of Mandarin: each is a token in brackets, [AA] …
    "AA AA0 AA1 AA2 AE AE0 AE1 AE2 AH AH0 AH1 AH2 AO AO0 AO1 AO2 AW AW0 AW1 AW2 AY AY0 AY1 AY2 B CH D DH EH EH0 "
    "EH1 EH2 ER ER0 ER1 ER2 EY EY0 EY1 EY2 F G HH IH IH0 IH1 IH2 IY IY0 IY1 IY2 JH K L M N NG OW OW0 OW1 OW2 OY "
    "OY0 OY1 OY2 P R S SH T TH UH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH a ai an ang ao b c ch d e ei en eng f g h "
    "i ian in ing iu ià iàn iàng iào iá ián iáng iáo iè ié iòng ióng iù iú iā iān iāng iāo iē iě iōng iū iǎ iǎn "
    "iǎng iǎo iǒng iǔ j k l m n o ong ou p q r s sh t u uang ue un uo uà uài uàn uàng uá uái uán uáng uè ué uì uí "
    "uò uó uā uāi uān uāng uē uě uī uō uǎ uǎi uǎn uǎng uǐ uǒ vè w x y z zh à ài àn àng ào á ái án áng áo è èi èn "
    "èng èr é éi én éng ér ì ìn ìng í ín íng ò òng òu ó óng óu ù ùn ú ún ā āi ān āng āo ē ēi ēn ēng ě ěi ěn ěng "
    "ěr ī īn īng ō ōng ōu ū ūn ǎ ǎi ǎn ǎng ǎo ǐ ǐn ǐng ǒ ǒng ǒu ǔ ǔn ǘ ǚ ǜ"
)


@dataclass(frozen=True)
class Layout:
    """A version. recipe: its yaml; llm_class: what the yaml calls the LM; rows: of the speech vocabulary behind the
    codes; end: the row among them that training writes behind a response. sos, task: rows among them that frame the
    text; None where `llm_embedding` has them. needs_end_of_prompt: a prompt without the mark is refused, as upstream
    does. specials: of the text tokenizer, in the order of their ids; silent: codes of silence and breath, of which
    upstream's decoder hears five in a row; mel_top_hz: highest frequency of the flow's mel."""

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
    silent: frozenset[int] = frozenset()
    mel_top_hz: float = 8000.0

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
    "CosyVoice3", "cosyvoice3.yaml", "CosyVoice3LM", 200, 1, False, "speech_tokenizer_v3.onnx", 0, 2, True,
    (*SPECIALS, "<|endofsystem|>", *(f"[{phone}]" for phone in PHONES.split())),
    frozenset({1, 2, 28, 29, 55, 248, 494, 2241, 2242, 2322, 2323}), 12_000.0,
)  # fmt: skip
