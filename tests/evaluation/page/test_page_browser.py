"""The page in headless Chromium: plots drawn, audio plays, nothing on the console, nothing from a network.

Chromium is a package of the system (`apt-get install chromium-headless-shell`; CI tries to); playwright drives it.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from arl.evaluation.page.build import write_page

pytestmark = pytest.mark.slow
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium-headless-shell")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield own
        own.close()


class Opened:
    """A page with what it has said and asked for."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        self.page = browser.new_context(**options).new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url[:60]))
        self.page.goto(path.as_uri())

    def is_quiet(self, path: Path) -> bool:
        others = [url for url in self.asked if not url.startswith(("data:", "blob:")) and url != path.as_uri()[:60]]
        return not self.said and not others


PLAYS = """async () => {
  const found = [...document.querySelectorAll('audio')];
  for (const audio of found) { audio.muted = true; await audio.play(); }
  const last = found[found.length - 1];
  await new Promise((done) => last.addEventListener('timeupdate', done, { once: true }));
  return [found.length, found.every((audio) => audio.duration > 0.4 && !audio.error), last.currentTime > 0];
}"""


def test_recognition(browser: Any, recognition_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "asr.html"
    write_page(recognition_run, path, is_running=True)
    assert path.stat().st_size < 15e6
    opened = Opened(browser, path, color_scheme="light", viewport={"width": 390, "height": 800})
    page = opened.page
    page.wait_for_selector('html[data-drawn="true"]')
    assert page.locator(".plot").count() == 11 == page.locator(".plot:has(.main-svg)").count()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.evaluate(PLAYS) == [3, True, True]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the result"
    page.focus("#theme")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.evaluate("document.querySelectorAll('audio').forEach((audio) => audio.pause())")
    page.locator("#chart-kl summary").click()
    page.evaluate("scrollTo(0, 900)")
    with page.expect_navigation():
        page.evaluate("reload()")
    page.wait_for_selector('html[data-drawn="true"]')
    assert page.evaluate("[scrollY, document.querySelector('#chart-kl details').open]") == [900, True]
    assert opened.is_quiet(path)


def test_synthesis(browser: Any, synthesis_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "tts.html"
    write_page(synthesis_run, path)
    opened = Opened(browser, path, color_scheme="dark")
    page = opened.page
    page.wait_for_selector('html[data-drawn="true"]')
    assert page.locator(".plot").count() == page.locator(".plot:has(.main-svg)").count() >= 9
    assert page.evaluate(PLAYS) == [6, True, True]
    assert page.evaluate("[...document.images].every((image) => image.naturalHeight === 80)")
    assert page.locator(".picture svg path").count() == 12
    assert opened.is_quiet(path)


def test_without_scripts_the_texts_and_values_are_there(browser: Any, recognition_run: Path, tmp_path: Path) -> None:
    path = tmp_path / "asr.html"
    write_page(recognition_run, path)
    page = Opened(browser, path, java_script_enabled=False).page
    text = page.inner_text("main")
    assert "Word errors fell by" in text and "The curves need scripts" in text and "u0" in text
    assert page.locator("#chart-kl tbody tr").count() == 8 and not page.locator("#theme").is_visible()
