"""Names of users in pictures and tables: any script, `$`, long ones; curves of short runs; the summary's account."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from lightning_tl.cli import main
from lightning_tl.reports.display_text import cells, padded, short_name, short_names, wrapped
from lightning_tl.reports.pictures import picture_fonts, picture_style
from lightning_tl.reports.pictures.confusion_picture import draw_confusion
from lightning_tl.reports.pictures.curves import KeptCheckpoint, draw_curves
from lightning_tl.reports.pictures.learning_rate_picture import draw_learning_rates
from lightning_tl.reports.pictures.values_picture import draw_values
from lightning_tl.reports.pictures.wrong_samples import draw_wrong_samples
from lightning_tl.reports.pictures.wrong_texts import draw_wrong_texts
from lightning_tl.reports.predictions import Predictions
from lightning_tl.reports.summary import summary_text
from lightning_tl.retrieval.judging.pictures.embedding_picture import draw_embedding_map
from lightning_tl.retrieval.judging.pictures.slice_picture import SliceBar, draw_slices
from lightning_tl.retrieval.judging.retrieval_text import _gaps

NAMES = ("中文类别", "غابة مطرية", "😀 happy", "$5 off $x_{1$", "a^2_$\\frac", "line\nbreak", "x" * 300)
ENDS = [f"Tomato_with_bacterial_leaf_disease_{k:02d}" for k in range(40)]
MIDDLES = [f"a beginning that all of them have {k} and an end that all of them have" for k in range(40)]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Figures as they were when they were written."""
    figures: list[Figure] = []
    original = picture_style.set_fonts

    def keep(figure: Figure) -> None:
        figures.append(figure)
        original(figure)

    monkeypatch.setattr(picture_style, "set_fonts", keep)
    return figures


@pytest.fixture(autouse=True)
def nothing_told() -> Iterator[None]:
    picture_fonts._told.clear()
    yield
    picture_fonts._told.clear()


def texts_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if isinstance(text, Text)]


def mistaken(classes: int) -> Predictions:
    return Predictions(np.arange(classes), np.roll(np.eye(classes, dtype=np.float32), 1, 1), np.arange(classes))


def ids(indices: Sequence[int]) -> list[str]:
    return [f"/a/folder of $x_{{/图片/{k:05d}.png" for k in indices]


def pixels(index: int) -> Any:
    return np.full((4, 4, 3), index, dtype=np.uint8)


def bars(names: Sequence[str]) -> list[SliceBar]:
    return [SliceBar("by $x_{", name, 50, 0.5, 0.4, 0.6) for name in names]


PICTURES: dict[str, Callable[[Sequence[str], Path], object]] = {
    "confusion": lambda names, path: draw_confusion(np.eye(len(names), dtype=np.int64), names, path),
    "embeddings": lambda names, path: draw_embedding_map(
        np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32), [*names, *names][:12], path
    ),
    "slices": lambda names, path: draw_slices(bars(names), 0.5, "HR@$x_{", path),
    "values": lambda names, path: draw_values(np.zeros((3, len(names))), np.ones((3, len(names))), names, path),
    "wrong images": lambda names, path: draw_wrong_samples(mistaken(len(names)), names, pixels, ids, path, 40),
    "wrong texts": lambda names, path: draw_wrong_texts(
        mistaken(len(names)), names, lambda k: f"{NAMES[k % 6]} $ " * 50, ids, path, 40
    ),
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_show_names_of_any_script_as_they_are(kind: str, tmp_path: Path, drawn: list[Figure]) -> None:
    path = tmp_path / "picture.png"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PICTURES[kind](NAMES, path)
        PICTURES[kind](NAMES, path)
    assert len(caught) <= 1 and not any("Glyph" in str(each.message) for each in caught)
    assert imread(path).shape[0] > 100
    assert not any(text.get_parse_math() for text in drawn[0].findobj(Text) if isinstance(text, Text))
    assert any("中文类别" in text for text in texts_of(drawn[0]))
    assert not any("x" * 100 in text for text in texts_of(drawn[0])), "a long name is cut"


@pytest.mark.filterwarnings("ignore:no font of this machine has letters")  # where that is so
@pytest.mark.parametrize("kind", ["confusion", "slices", "wrong images", "wrong texts"])
@pytest.mark.parametrize("names", [ENDS, MIDDLES], ids=["ends", "middles"])
def test_long_names_stay_different(names: list[str], kind: str, tmp_path: Path, drawn: list[Figure]) -> None:
    PICTURES[kind](names, tmp_path / "picture.png")
    shown = {text for text in texts_of(drawn[0]) if "…" in text}
    assert len(shown) >= 40


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("中文", 4), ("e\u0301", 1), ("غابة", 4), ("😀", 2), ("한글", 4), ("\u200d", 0)]
)
def test_cells(text: str, width: int) -> None:
    assert cells(text) == width
    assert cells(padded(text, 10)) == 10


@pytest.mark.parametrize(
    ("name", "width", "short"),
    [
        ("forest", 6, "forest"),
        ("abcdefghij", 7, "abc…hij"),
        ("abcdefghij", 8, "abcd…hij"),
        ("中文中文中文中文", 9, "中文…中文"),
        ("line\nbreak\tand \x1b[0m", 30, "line break and �[0m"),
        ("bad\udcff", 12, "bad�"),
        ("aaaaaae\u0301e\u0301e\u0301bb", 7, "aaa…e\u0301bb"),
    ],
)
def test_short_name(name: str, width: int, short: str) -> None:
    assert short_name(name, width) == short


LETTERS = st.text(st.sampled_from("ab #1 中e\u0301\n\u200d😀"), max_size=40)


@given(
    st.lists(LETTERS | st.integers(0, 3).map(lambda k: f"{'a' * 30}{k}{'b' * 30}"), max_size=30), st.integers(12, 40)
)
@settings(max_examples=200, deadline=None)
def test_different_names_stay_different(names: list[str], width: int) -> None:
    short = short_names(names, width)
    assert len(set(zip(names, short, strict=True))) == len(set(names)) == len(set(short))
    assert all(cells(name) <= width and "\n" not in name for name in short)


@given(st.text(st.sampled_from("ab c中 e\u0301\n"), max_size=200), st.integers(2, 20), st.integers(1, 4) | st.none())
@settings(max_examples=200, deadline=None)
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int, most: int | None) -> None:
    lines = wrapped(text, width, most)
    assert all(cells(line) <= width for line in lines)
    if most is None:
        assert "".join("".join(lines).split()) == "".join(text.split())
    else:
        assert len(lines) <= most


def font_file(path: Path, family: str, letters: str) -> Path:
    """A font in which every letter is a full square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 700), (700, 700), (700, 0)):
        pen.lineTo(corner)
    pen.closePath()
    square, names = pen.glyph(), [".notdef", *(f"u{ord(letter):04X}" for letter in letters)]
    made = FontBuilder(1000, isTTF=True)
    made.setupGlyphOrder(names)
    made.setupCharacterMap({ord(letter): f"u{ord(letter):04X}" for letter in letters})
    made.setupGlyf(dict.fromkeys(names, square))
    made.setupHorizontalMetrics(dict.fromkeys(names, (800, 0)))
    made.setupHorizontalHeader(ascent=800, descent=-200)
    made.setupNameTable({"familyName": family, "styleName": "Regular"})
    made.setupOS2()
    made.setupPost()
    made.save(path)
    return path


def test_fonts_that_have_the_letters_are_taken(
    tmp_path: Path, drawn: list[Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    fonts = [
        font_file(tmp_path / "one.ttf", "Of One", "ꙮ\U00013000"),
        font_file(tmp_path / "two.ttf", "Of Two", "\U00013001"),
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [*font_manager.fontManager.ttflist])
    for path in fonts:
        font_manager.fontManager.addfont(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw_confusion(np.eye(2, dtype=np.int64), ["\U00013000 a", "\U00013001 b"], tmp_path / "picture.png")
    families = {
        tuple(t.get_fontfamily()) for t in drawn[0].findobj(Text) if isinstance(t, Text) and " a" in t.get_text()
    }
    assert families == {("DejaVu Sans", "Of One", "Of Two")}


def test_missing_letters_are_told_once_with_a_font_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dejavu = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", dejavu)
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    picture_fonts._families.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for name in ("中文", "日本", "中文"):
            draw_confusion(np.eye(1, dtype=np.int64), [name], tmp_path / "picture.png")
    picture_fonts._families.cache_clear()
    (warning,) = caught
    assert "letters such as 中 (U+4E2D)" in str(warning.message) or "letters such as 文" in str(warning.message)
    assert "install a font that has them, e.g. Noto Sans CJK" in str(warning.message)


# ---------------------------------------------------------------- curves

EPOCH = {"step": 4, "epoch": 0, "val_loss": 0.7, "val_accuracy": 0.5, "train_loss_epoch": 0.9}
EPOCHS = pd.DataFrame(
    [{"step": 9 + 10 * k, "epoch": k, "val_loss": (k - 2) ** 2, "val_accuracy": k / 8} for k in range(8)]
)


def lines_of(axes: Axes) -> dict[str, Any]:
    return {str(line.get_label()): line for line in axes.lines}


def test_one_epoch_has_points(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_curves(pd.DataFrame([EPOCH]), [], tmp_path / "curves.png")
    losses, scores = drawn[0].axes
    for axes, name in ((losses, "training"), (losses, "validation"), (scores, "accuracy")):
        assert lines_of(axes)[name].get_marker() == "o" and list(lines_of(axes)[name].get_xdata()) == [5]


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy", None, "train_loss"])
def test_the_kept_checkpoint_is_marked_not_the_best_accuracy(
    monitor: str | None, tmp_path: Path, drawn: list[Figure]
) -> None:
    draw_curves(EPOCHS, [], tmp_path / "curves.png", KeptCheckpoint(30, monitor))
    losses, scores = drawn[0].axes
    for axes in (losses, scores):
        assert set(lines_of(axes)["kept checkpoint"].get_xdata()) == {30}
    assert scores.get_title(loc="left").startswith("Validation (kept: step 30, ")
    assert "accuracy 0.250" in scores.get_title(loc="left")
    ringed = [axes for axes in (losses, scores) if any(line.get_markersize() == 9 for line in axes.lines)]
    assert ringed == {"val_loss": [losses], "val_accuracy": [scores]}.get(monitor or "", [])


def test_no_kept_checkpoint_no_mark(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_curves(EPOCHS, [], tmp_path / "curves.png")
    assert drawn[0].axes[1].get_title(loc="left") == "Validation"


def test_a_loss_that_was_never_a_number_leaves_the_other(tmp_path: Path, drawn: list[Figure]) -> None:
    draw_curves(pd.DataFrame([{**EPOCH, "val_loss": float("nan")}]), [], tmp_path / "curves.png")
    assert set(lines_of(drawn[0].axes[0])) == {"training"}


def test_rates_are_numbered_without_formulas(tmp_path: Path, drawn: list[Figure]) -> None:
    rates = pd.DataFrame({"step": [0, 1], "lr/$head": [2e-3, 3e-3], "lr/block": [1e-5, 1e-6]})
    draw_learning_rates(rates, ["$head", "block"], [], tmp_path / "rates.png")
    said = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert any(said) and not any("$" in label for label in said)


# ---------------------------------------------------------------- the summary


def summary(names: Sequence[str], ends: bool = True, **data: Any) -> str:
    interval = {"low": 0.4, "high": 0.6} if ends else None
    scores = {"recall": 0.5, "precision": 0.5, "f1": 0.5, "f1_interval": interval}
    classes = [{"name": name, "support": 1000 + k, **scores} for k, name in enumerate(names)]
    test = {"samples": 9, "task": "one label", "accuracy": 0.5, "interval": None, "macro_f1": 0.5, "classes": classes}
    return summary_text({"test": test, "data": data}, Path("run"))


@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("names", [NAMES, ENDS[:20], MIDDLES], ids=["scripts", "ends", "middles"])
def test_class_table_stands_in_columns(names: Sequence[str], ends: bool) -> None:
    splits = {"train": {"samples": 4500, "classes": {name: 10 * k for k, name in enumerate(names)}}}
    lines = summary(names, ends, splits=splits).splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith("  class"))
    rows = lines[start + 1 : start + 1 + len(names)]
    places = {cells(row[: row.index(" 0.500")]) for row in rows}
    assert len(places) == 1 and max(map(cells, rows)) <= 80
    assert len({row[: row.index(" 0.500")] for row in rows}) == len(names)
    assert ("train" in lines[start]) is (len(names) <= 20)
    if len(names) <= 20:
        assert f"1,001       {10:2}" in rows[1]
    else:
        assert any("40 classes of 0 (" in line and "…" in line for line in lines)


def test_summary_says_what_was_trained_on() -> None:
    splits = {"train": {"samples": 4500}, "validation": {"samples": 900}, "test": {"samples": 1007}}
    text = summary(["a"], splits=splits, dropped={"no label": 3, "empty": 0}, cut=1)
    assert "\n  trained on     4,500 (validation 900, test 1,007)\n" in text
    assert "\n  left out       3: no label\n" in text and "empty" not in text
    assert "\n  cut            1 text that is longer than the model reads\n" in text


@pytest.mark.parametrize(
    "data", [{}, {"splits": {}}, {"splits": {"test": {"samples": 4}}}, {"dropped": {"x": 0}, "cut": 0}]
)
def test_what_is_not_known_is_not_said(data: dict[str, Any]) -> None:
    text = summary(["a"], **data)
    assert not any(word in text for word in ("trained on", "left out", "cut", "train"))


def test_a_terminal_without_the_letters_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    main(["--help"])
    print("é 中 •", flush=True)
    assert written.getvalue().endswith(b"\xe9 \\u4e2d \\u2022\n")


def test_groups_of_queries_stand_in_columns() -> None:
    ends = {"higher": "中文", "lower": MIDDLES[0], "difference": 0.1, "metric": "MRR", "intervals_overlap": None}
    groups = {name: {"MRR": {"value": 0.5}} for name in ("中文", MIDDLES[0])}
    slices = {name: {"largest_gap": ends, "slices": groups} for name in ("类别", "plain", *ENDS[:2])}
    _, *rows = _gaps(slices)
    assert {cells(row[: row.index(" 中文 0.500 against")]) for row in rows} == {22}
    assert len(set(rows)) == 4
