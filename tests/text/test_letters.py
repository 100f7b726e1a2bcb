"""Texts in letters: what is said of them, and what a recogniser of letters reads."""

import pytest

from arl.text.letters import Unspoken, readable, spoken


@pytest.mark.parametrize("text", ["route 66", "you & me", "\u0434\u0430", "\u304b\u306a", "?!", ""])
def test_what_letters_do_not_say_is_refused(text):
    for read in (spoken, readable):
        with pytest.raises(Unspoken):
            read(text)


def test_marks_are_not_read():
    assert readable("Be calm<|endofprompt|>They [breath] <strong>go</strong>.") == "be calm they go"
    with pytest.raises(Unspoken, match="nothing to speak"):
        readable("[breath]")


def test_chinese_is_read_as_syllables():
    pytest.importorskip("pypinyin")
    assert readable("\u4f60\u597d\uff0cAnn\uff01") == readable("[laughter]\u59b3\u597d ann") == "ni hao ann"
    assert readable("\u7eff\u2f08\u3002") == "lv ren"  # the second is a radical's code point
    with pytest.raises(Unspoken):
        spoken("\u4f60\u597d")
