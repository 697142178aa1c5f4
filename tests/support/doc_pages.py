"""The pages of the documentation, and the blocks and commands that stand in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
FILES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "api")]
PAGES = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES}
ADD_YOUR_OWN = {name: text for name, text in PAGES.items() if "add_your_own" in name}
_BLOCK = re.compile(r"^```(\w*)(?: title=\"([^\"]+)\")?\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
_FIT = re.compile(r"(?:^|.*\s)(?:lightning-tl|(?:python )?scripts/(?:fit|embed)\.py)\s")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [block for found, _, block in _BLOCK.findall(text) if found == language]


def titled(text: str) -> dict[str, str]:
    """The files that a page shows, by name."""
    return {title: block for _, title, block in _BLOCK.findall(text) if title}


def command_lines(text: str) -> list[str]:
    """Commands in blocks of their own, indented or fenced, and those between backticks in a sentence."""
    lines = [line for block in blocks(text, "bash") for line in block.splitlines()]
    lines += re.findall(r"^    (python .*|lightning-tl .*)$", _BLOCK.sub("", text), flags=re.MULTILINE)
    inline = re.findall(r"`([^`]+)`", _BLOCK.sub("", text))
    starts = ("python ", "lightning-tl ", "torchrun ", "srun ", "--recipe ")
    lines += [" ".join(code.split()) for code in inline if code.startswith(starts) and "…" not in code]
    return list(dict.fromkeys(part.strip() for line in lines for part in line.split("&&")))


def program_arguments(line: str) -> list[str] | None:
    """The arguments of a command line of this program; None where another program is called."""
    line = re.split(r" [>#] | 2>", line)[0]
    if line.startswith("--recipe"):
        return shlex.split(line)
    found = _FIT.match(f"{line} ")
    if found is None:
        return None
    embed = ["embed"] if "scripts/embed.py" in line else []
    return [*embed, *shlex.split(line[found.end() :])]
