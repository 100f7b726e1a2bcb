"""The Markdown pages of the repository: which there are, their commands, programs, headings and links."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOP = ("*.md", ".github/**/*.md", "arl/**/*.md", "stages/**/*.md", "examples/**/*.md", "benchmarks/**/*.md")
EVERY_PAGE = sorted(str(path.relative_to(ROOT)) for pattern in TOP for path in ROOT.glob(pattern))

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)


def shell_lines(page: str) -> list[str]:
    """The lines of a page's `sh` blocks, broken ones joined."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def shown_program(name: str) -> str:
    """The Python of README.md or stages/README.md that defines this reward."""
    texts = ((ROOT / page).read_text() for page in ("README.md", "stages/README.md"))
    blocks = [block for text in texts for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    (code,) = [block for block in blocks if f"def {name}(" in block]
    return code


def anchors(text: str) -> set[str]:
    """What `#…` may name in a page, as GitHub derives it from the headings: lower case, dashes for spaces."""
    plain = (CODE.sub(lambda code: code[0][1:-1], heading) for heading in HEADING.findall(FENCE.sub("", text)))
    labels = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in plain)
    found: set[str] = set()
    times: Counter[str] = Counter()
    for slug in (re.sub(r"[^\w\- ]", "", label).replace(" ", "-") for label in labels):
        found.add(f"{slug}-{times[slug]}" if times[slug] else slug)
        times[slug] += 1
    return found


def dead_links(page: Path, root: Path) -> list[str]:
    """The relative links of a page to what is not in `root`, or to a heading that its page does not have."""
    targets = LINK.findall(CODE.sub("", FENCE.sub("", page.read_text())))
    return [target for target in targets if "://" not in target and not leads(page, target, root)]


def leads(page: Path, target: str, root: Path) -> bool:
    name, _, anchor = target.partition("#")
    there = (page.parent / name).resolve() if name else page
    if not there.is_relative_to(root) or not there.exists():
        return False
    return not anchor or (there.suffix == ".md" and anchor in anchors(there.read_text()))
