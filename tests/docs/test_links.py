"""No page has a dead link, and README.md leads to every page."""

from pathlib import Path

import pytest

from tests.docs.pages import EVERY_PAGE, LINK, ROOT, anchors, dead_links

NOT_FOR_READERS = {"arl/evaluation/page/card.md"}  # a template


def test_dead_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.md").write_text("# A `b`, or c\n\n## Twice\n\n## Twice\n\n```sh\n# none\n```\n")
    good = ["sub/b.md", "sub", "sub/b.md#a-b-or-c", "sub/b.md#twice-1", "#here", "https://example.org/x"]
    bad = ["b.md", "../a.md", "/sub/b.md", "sub/b.md#none", "sub/b.md#twice-2", "#there", "sub#twice"]
    page = tmp_path / "a.md"
    page.write_text("# Here\n" + "".join(f"[x]({link})\n" for link in good + bad) + "`[y](z)`\n```\n[y](z)\n```\n")
    assert dead_links(page, tmp_path) == bad
    page.write_text("[![a picture](none.png)](sub/b.md)")
    assert dead_links(page, tmp_path) == ["none.png"]


def test_anchors_are_githubs() -> None:
    page = "# Table 1 of the paper, on the embedded default\n## [KL](kl.md) & β\n## `make` it_so – twice\n"
    assert anchors(page) == {"table-1-of-the-paper-on-the-embedded-default", "kl--β", "make-it_so--twice"}


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_no_link_is_dead(page: str) -> None:
    assert dead_links(ROOT / page, ROOT) == []


def test_the_readme_leads_to_every_page() -> None:
    reached, remaining = set(), [ROOT / "README.md"]
    while remaining:
        page = remaining.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link)
        remaining += [(page.parent / link).resolve() for link in links if link]
    assert {str(page.relative_to(ROOT)) for page in reached} == set(EVERY_PAGE) - NOT_FOR_READERS
