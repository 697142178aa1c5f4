"""Which fonts a picture needs for the names in it."""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from lightning_tl.contracts.notice import Notice

STANDARD = "DejaVu Sans"  # comes with matplotlib: Latin, Greek, Cyrillic, Hebrew, Arabic, …

# Looked at before all others: quiet fonts for screens that come with systems, or are the usual ones to install.
_LIKED = (
    "Noto Sans",
    "Source Han Sans",
    "PingFang",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi",
    "Droid Sans Fallback",
    "SimHei",
    "Noto Emoji",
    "Segoe UI",
    "Arial Unicode",
    "Symbola",
)
_BOXES_OR_IMAGES = ("last resort", "lastresort", "color emoji")  # in the name, in small letters
_FORMULAS = ("STIX", "cm")  # at its start: of mathematics alone

# What to install for letters whose Unicode name begins so.
_REMEDIES = (
    (("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "IDEOGRAPHIC", "FULLWIDTH"), "Noto Sans CJK"),
    (("THAI",), "Noto Sans Thai"),
    (("DEVANAGARI",), "Noto Sans Devanagari"),
    (("BENGALI",), "Noto Sans Bengali"),
    (("TAMIL",), "Noto Sans Tamil"),
    (("ARABIC",), "Noto Sans Arabic"),
    (("HEBREW",), "Noto Sans Hebrew"),
)

_told: set[str] = set()  # remedies that this process has named


def set_fonts(figure: Figure) -> None:
    """Give every text of a figure the fonts that have its letters, and say once which are missing.

    Args:
        figure: with all its texts; what is still missing is drawn as boxes.
    """
    texts = list(_texts(figure))
    letters = frozenset("".join(text.get_text() for text in texts))
    strange = frozenset(letter for letter in letters if _is_drawn(letter) and ord(letter) not in _letters_of_standard())
    if not strange:
        return
    families, missing = _families(strange, len(font_manager.fontManager.ttflist))
    for text in texts:
        text.set_fontfamily([STANDARD, *families])
    for remedy, example in sorted({_remedy(letter): letter for letter in sorted(missing, reverse=True)}.items()):
        if remedy not in _told:
            _told.add(remedy)
            _say_missing(remedy, example)


def _texts(figure: Figure) -> Iterator[Text]:
    for axes in figure.axes:
        axes.get_xticklabels()  # else tick labels are empty until they are drawn
        axes.get_yticklabels()
    for found in figure.findobj(Text):
        if isinstance(found, Text):
            yield found


def _is_drawn(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Mn", "Zs", "Co", "Cn", "Cs")


@cache
def _letters_of_standard() -> frozenset[int]:
    return _letters_of(font_manager.findfont(STANDARD))


def _letters_of(path: str) -> frozenset[int]:
    """Code points that a font file has; none where it cannot be read."""
    try:
        return frozenset(font_manager.get_font(path).get_charmap())
    except (OSError, RuntimeError, ValueError):
        return frozenset()


@cache
def _families(letters: frozenset[str], fonts: int) -> tuple[tuple[str, ...], frozenset[str]]:
    """Families to fall back on for these letters, and the letters that none of so many fonts has."""
    found: list[str] = []
    wanted = {ord(letter) for letter in letters}
    for again in (False, True):
        if again:
            _look_again()
        for family, path in _candidates():
            if not wanted:
                break
            here = wanted & _letters_of(path)
            if here and family not in found:
                found.append(family)
                wanted -= here
    return tuple(found), frozenset(map(chr, wanted))


def _candidates() -> list[tuple[str, str]]:
    """Family and file of every font that could help, the better ones first, regular faces alone where there are."""
    files: dict[str, tuple[bool, str]] = {}
    for entry in font_manager.fontManager.ttflist:
        plain = entry.style == "normal" and entry.weight in (400, "normal", "regular", "book")
        if entry.name not in files or (plain and not files[entry.name][0]):
            files[entry.name] = (plain, entry.fname)
    fit = [name for name in files if not any(word in name.lower() for word in _BOXES_OR_IMAGES)]
    fit = [name for name in fit if not name.startswith(_FORMULAS)]
    ranks = {name: next((k for k, liked in enumerate(_LIKED) if name.startswith(liked)), len(_LIKED)) for name in fit}
    return [(name, files[name][1]) for name in sorted(fit, key=lambda name: (ranks[name], name))]


@cache
def _look_again() -> None:
    """Read fonts that were installed after matplotlib wrote its list of them."""
    known = {Path(entry.fname) for entry in font_manager.fontManager.ttflist}
    for path in sorted(set(map(Path, font_manager.findSystemFonts())) - known):
        try:
            font_manager.fontManager.addfont(path)
        except (OSError, RuntimeError, ValueError, NotImplementedError):
            continue  # damaged, or of pictures


def _remedy(letter: str) -> str:
    name = unicodedata.name(letter, "")
    if unicodedata.category(letter) in ("So", "Sk"):
        return "Noto Emoji or Symbola"
    return next((font for starts, font in _REMEDIES if name.startswith(starts)), "the Noto Sans of its script")


def _say_missing(remedy: str, example: str) -> None:
    warnings.warn(
        f"no font of this machine has letters such as {example} (U+{ord(example):04X}): pictures show boxes instead, "
        f"all files have the true names; install a font that has them, e.g. {remedy}, for readable pictures",
        stacklevel=2,
        category=Notice,
    )
