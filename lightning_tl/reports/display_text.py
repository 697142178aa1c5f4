"""Texts of users as they fit a place: their width in character cells, cuts that leave names different, lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

_CUT = "…"


def cells(text: str) -> int:
    """Width in a terminal: two cells for Chinese, Japanese, Korean and emoji, none for marks on other letters."""
    return sum(map(_cells, text))


def _cells(letter: str) -> int:
    if letter.isascii():
        return 1
    if unicodedata.category(letter) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def padded(text: str, width: int) -> str:
    """The text with spaces behind it, `width` cells wide, as `str.ljust` counts letters."""
    return before_more(text) + " " * (width - cells(text))


def before_more(text: str) -> str:
    """The text as it may stand before a number: digits behind Arabic or Hebrew letters would move to their left."""
    right_to_left = any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in text)
    return f"{text}\u200e" if right_to_left else text


def one_line(text: str) -> str:
    """The text without line breaks, and with a mark for what no screen can show (control codes, damaged letters)."""
    shown = " ".join(text.split())
    return "".join("\ufffd" if unicodedata.category(letter) in ("Cc", "Cs") else letter for letter in shown)


def short_name(name: str, width: int) -> str:
    """The name on one line, its middle left out where it is wider than `width` cells."""
    name = one_line(name)
    if cells(name) <= width:
        return name
    tail = (width - 1) // 2
    return _start(name, width - 1 - tail) + _CUT + _end(name, tail)


def short_names(names: Sequence[str], width: int) -> list[str]:
    """`short_name` of each; different names stay different.

    Names that differ in their middles alone are cut elsewhere, so that the middle is seen, or are numbered where that
    does not help.

    Args:
        names: the same name may come several times.
        width: in cells, at least 12.
    """
    different = list(dict.fromkeys(names))
    short = {name: short_name(name, width) for name in different}
    for alike in _alike(short):
        tried = dict(zip(alike, _around_difference(alike, width), strict=True))
        others = {short[name] for name in different if name not in tried}
        if len(set(tried.values())) == len(tried) and not others & set(tried.values()):
            short.update(tried)
    for alike in _alike(short):
        taken = {short[name] for name in different if name not in alike}
        number = 0
        for name in alike:
            while True:
                number += 1
                mark = f"#{number}"
                short[name] = short_name(name, width - len(mark)) + mark
                if short[name] not in taken:
                    break
            taken.add(short[name])
    return [short[name] for name in names]


def _alike(short: dict[str, str]) -> list[list[str]]:
    """Groups of different names that look the same."""
    groups: dict[str, list[str]] = {}
    for name, shown in short.items():
        groups.setdefault(shown, []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _around_difference(names: Sequence[str], width: int) -> list[str]:
    """Each name cut so that a few letters before the first difference, and what follows it, are seen."""
    lines = [one_line(name) for name in names]
    same = next((k for k, letters in enumerate(zip(*lines, strict=False)) if len(set(letters)) > 1), 0)
    head = width // 4
    return [_start(line, head) + _CUT + short_name(line[max(0, same - 2) :], width - 1 - head) for line in lines]


def _start(text: str, width: int) -> str:
    """The first letters that fit into `width` cells, with the marks on them."""
    used, end = 0, 0
    while end < len(text) and used + _cells(text[end]) <= width:
        used += _cells(text[end])
        end += 1
    return text[:end]


def _end(text: str, width: int) -> str:
    """The last letters that fit into `width` cells; never a mark without its letter."""
    used, start = 0, len(text)
    while start > 0 and used + _cells(text[start - 1]) <= width:
        start -= 1
        used += _cells(text[start])
    while start < len(text) and _cells(text[start]) == 0:
        start += 1
    return text[start:]


def wrapped(text: str, width: int, most_lines: int | None = None) -> list[str]:
    """The text in lines of at most `width` cells, broken at spaces, and inside words that fill more than a line.

    Args:
        text: of any length; line breaks count as spaces.
        width: in cells, at least 2.
        most_lines: the last of them ends in "…" where there is more; None for all.
    """
    lines: list[str] = []
    line = ""
    for word in one_line(text).split(" "):
        while word and (most_lines is None or len(lines) <= most_lines):
            joined = f"{line} {word}" if line else word
            if cells(joined) <= width:
                line, word = joined, ""
            elif line and (cells(word) <= width or cells(line) > width // 2):
                lines, line = [*lines, line], ""
            else:
                part = _start(joined, width)
                lines, word, line = [*lines, part], joined[len(part) :].lstrip(" "), ""
        if most_lines is not None and len(lines) > most_lines:
            break
    lines += [line] if line else []
    if most_lines is None or len(lines) <= most_lines:
        return lines
    return [*lines[: most_lines - 1], f"{_start(lines[most_lines - 1], width - 2)} {_CUT}"]
