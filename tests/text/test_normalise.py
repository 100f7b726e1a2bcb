import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arl.text.normalise import normalise
from arl.text.tags import language


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mr. Smith's colour isn't $20 million!", "mister smith is color is not $20000000"),
        ("um, twenty-one  (laughs) ", "21"),
        ("Press two.", "press 2"),
        ("", ""),
        (" ?! ", ""),
    ],
)
def test_english_is_whispers_normaliser(text, expected):
    assert normalise(text, "en") == expected


def test_other_languages_keep_their_combining_marks():
    assert normalise("हिन्दी, नमस्ते।", "hi") == "हिन्दी नमस्ते"
    assert normalise("ภาษาไทย", "th") == "ภาษาไทย"


def test_other_languages_drop_case_and_punctuation_only():
    assert normalise(" L'Été, déjà ? ", "fr") == "l été déjà"
    assert normalise("e\u0301te\u0301", "fr") == "été"
    assert normalise("one colour", "fr") == "one colour"


@pytest.mark.parametrize(
    ("code", "expected"), [("en-US", "en"), ("English", "en"), ("zh_TW", "zh"), (" ZH ", "zh"), ("", "")]
)
def test_language_is_the_code_without_region(code, expected):
    assert language(code) == expected


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60), st.sampled_from(["en", "zh", "hi", ""]))
def test_any_text_normalises_to_single_spaces(text, lang):
    result = normalise(text, lang)
    assert result == " ".join(result.split())


def test_normalising_does_not_import_torch():
    code = "import sys; from arl.text.normalise import normalise; normalise('a', 'en'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
