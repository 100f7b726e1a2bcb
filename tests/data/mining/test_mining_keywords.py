"""Words of a list are found as the reward counts them; rare words follow the stated rule."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.data.mining.keywords import Entries, Rarity
from arl.errors import ArlError
from arl.text.keywords import keyword_counts
from tests.data.mining.clips import candidate

WORDS = ["new york", "York", "anna", "New", "anna new"]
TEXTS = st.lists(st.sampled_from(["new", "york", "yorker", "anna", "Anna's"]), max_size=6).map(" ".join)


def test_a_list(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("\ufeffDigium\n\n New   York \nDigium\n北京\n", encoding="utf-8")
    entries = Entries.read(tmp_path / "list")
    assert entries.words == ["Digium", "New York", "北京"]
    assert entries.found("Call DIGIUM, in new york!", "en") == ("Digium", "New York")
    assert entries.found("new Yorkers call digi um", "en") == ()
    assert entries.found("我在北京工作", "zh") == ("北京",)
    assert entries.found("", "en") == ()


def test_bad_lists(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    for name, message in (("empty", "no words"), ("latin", "not UTF-8"), ("missing", "cannot be read")):
        with pytest.raises(ArlError, match=f"{name}: {message}"):
            Entries.read(tmp_path / name)


@settings(deadline=None)  # the first call imports
@given(TEXTS, st.sampled_from(["en", "fr", "zh"]))
def test_found_is_what_the_reward_counts(text: str, lang: str) -> None:
    counted = tuple(word for word in WORDS if keyword_counts([word], text, "", lang).in_reference)
    assert Entries(WORDS).found(text, lang) == counted


def test_the_rare_rule() -> None:
    texts = ["Press the button.", "press the BUTTON", "Press Digium now", "the button", "call 12345 voicemail Digium's"]
    pool = [candidate(f"k{n}", text) for n, text in enumerate(texts)]
    rarity = Rarity.count(pool, 5)
    # k0 and k1 are one text; "digium" is in two, "voicemail" in one, "the" and "now" are short, numbers are no words
    assert rarity.texts == {"en": {"press": 2, "button": 2, "digium": 2, "voicemail": 1}}
    assert rarity.rarest() == 1
    assert rarity.rare(texts[4], "en", 1) == {"voicemail": 1}
    assert rarity.rare(texts[2], "en", 2) == {"press": 2, "digium": 2}
    assert rarity.rare("unheard press", "en", 1) == {}  # a word that no text of the corpus has
    assert Rarity.count(pool, 30).rarest() is None


def test_languages_are_counted_apart_and_those_without_words_left_out() -> None:
    pool = [candidate("a", "bonjour", "fr"), candidate("b", "bonjour", "en"), candidate("c", "今天天气很好", "zh")]
    pool.append(candidate("d", "नमस्ते दुनिया", "hi"))
    rarity = Rarity.count(pool, 5)
    assert rarity.texts == {"fr": {"bonjour": 1}, "en": {"bonjour": 1}, "hi": {"नमस्ते": 1, "दुनिया": 1}}
    assert rarity.rare("今天天气很好", "zh", 1) == {}


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(1, 4))
def test_rare_words_stand_in_at_most_so_many_texts(texts: list[str], at_most: int) -> None:
    pool = [candidate(f"k{n}", text or "empty") for n, text in enumerate(texts)]
    rarity = Rarity.count(pool, 4)
    distinct = {each.text.lower().replace("'s", " s") for each in pool}
    for each in pool:
        for word, n in rarity.rare(each.text, "en", at_most).items():
            assert len(word) >= 4 and 1 <= n <= at_most
            assert n <= sum(word in text.split() for text in distinct)
