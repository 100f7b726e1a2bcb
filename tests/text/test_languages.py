import pytest

from arl.text.languages import CANDIDATES, odds, probabilities


@pytest.mark.parametrize(
    ("text", "lang", "other"),
    [
        ("appuyez sur une touche pour continuer", "en", "fr"),
        ("press any key to continue the call", "fr", "en"),
        ("натисніть будь-яку кнопку", "ru", "uk"),
        ("من خیلی خسته هستم امشب", "ar", "fa"),
    ],
)
def test_a_sentence_in_another_language_of_the_script(text, lang, other):
    found = odds(text, lang)
    assert found is not None and found[0] == other and found[1] > 20


def test_the_language_itself_is_likelier_than_every_other():
    assert odds("please leave a message after the tone", "en")[1] < 0.1
    assert odds("bitte hinterlassen sie eine nachricht", "de")[1] < 0.1


def test_next_of_kin_are_no_others_and_unknown_languages_have_no_odds():
    assert odds("prosím zanechajte správu po zaznení tónu", "cs")[0] != "sk"
    assert odds("anything", "tlh") is None
    assert odds("anything", "") is None


def test_probabilities_are_over_the_candidates():
    found = probabilities("good morning everyone")
    assert set(found) == set(CANDIDATES) and sum(found.values()) == pytest.approx(1, abs=1e-4)
