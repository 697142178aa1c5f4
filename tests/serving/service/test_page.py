"""The page in a real browser: `pytest -m browser` needs playwright and Chromium (`apt-get install chromium`).

With the environment variable SCREENSHOTS set to a folder, what the tests see is written there.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from served_models import ColourModel, CountingModel, png, running, service_of

from lightning_tl.inputs.thumbnail import thumbnail

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
LOOKS = [("light", 1200, 760), ("dark", 1200, 760), ("light", 360, 740), ("dark", 360, 740)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tool:
        opened = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    models = {"land": ColourModel(), "news": ColourModel(kind="texts"), "shop": CountingModel()}
    with running(service_of(*models.items())) as address:
        yield address


def opened(browser: Any, address: str, look: tuple[str, int, int] = LOOKS[0]) -> Any:
    scheme, width, height = look
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.problems = []
    page.on("console", lambda said: page.problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith((address, "blob:")) or page.problems.append(asked.url))
    page.goto(address)
    return page


def keep(page: Any, name: str, look: tuple[str, int, int]) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= look[1], f"{name} is wider than the screen"
    if folder := os.environ.get("SCREENSHOTS"):
        page.wait_for_timeout(400)
        page.screenshot(path=Path(folder) / f"{name}-{look[0]}-{look[1]}.png", full_page=True)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def test_each_kind_is_asked_and_answers(browser: Any, address: str, look: tuple[str, int, int]) -> None:
    page = opened(browser, address, look)
    page.wait_for_selector("#images:not([hidden])")
    keep(page, "empty", look)
    page.set_input_files("#file", {"name": "tile.png", "mimeType": "image/png", "buffer": png(size=(64, 64))})
    page.locator(".bars li").first.wait_for()  # the status names all classes before, too
    page.get_by_role("status").get_by_text("water").wait_for()
    assert page.locator(".bars li").count() == 3 and "%" in page.locator(".bars .best .number").inner_text()
    keep(page, "image", look)
    page.set_input_files("#file", {"name": "broken.png", "mimeType": "image/png", "buffer": b"nothing"})
    page.locator(".status.problem").wait_for()
    assert "no image of a format" in page.get_by_role("status").inner_text() and page.locator(".bars").count() == 0
    keep(page, "problem", look)
    page.select_option("#model", "news")
    page.get_by_role("textbox", name="Text").fill(
        "A soft dress that fits well, though the colour is not the one in the picture."
    )
    page.get_by_role("button", name="Classify").click()
    page.locator(".bars li").first.wait_for()
    keep(page, "text", look)
    page.select_option("#model", "shop")
    page.get_by_role("combobox", name="User").fill("u1")
    page.get_by_role("button", name="Recommend").click()
    page.locator(".items li").first.wait_for()
    assert page.locator(".items li").count() == 10 and page.locator(".chips li").count() == 2
    assert page.locator(".items .why").first.inner_text() == "near to Title i2"
    keep(page, "items", look)
    page.get_by_role("button", name="Similar to Title i3").click()
    page.get_by_role("status").get_by_text("Similar to Title i3").wait_for()
    assert [text for text in page.problems if "422" not in text] == []
    page.close()


def test_it_is_used_by_keyboard_alone(browser: Any, address: str) -> None:
    page = opened(browser, address)
    page.wait_for_selector("#images:not([hidden])")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "model"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "file"
    outline = page.evaluate("getComputedStyle(document.getElementById('drop')).outlineStyle")
    assert outline == "solid", "one sees where the focus is"
    page.select_option("#model", "news")
    page.locator("#text").focus()
    page.keyboard.type("a text")
    page.keyboard.press("Control+Enter")
    page.locator(".bars li").first.wait_for()
    page.select_option("#model", "shop")
    page.get_by_role("radio", name="A user").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Items, oldest first").fill("i4, i5\ni6")
    page.get_by_label("How many").fill("3")
    page.get_by_label("How many").press("Enter")
    page.locator(".items li").first.wait_for()
    assert page.locator(".chips li").all_inner_texts() == ["Title i4", "Title i5", "Title i6"]
    page.close()


def test_every_field_has_a_name_and_the_answer_is_announced(browser: Any, address: str) -> None:
    page = opened(browser, address)
    page.wait_for_selector("#images:not([hidden])")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input,textarea,select,button')]"
        ".filter(one => !(one.labels?.length || one.textContent.trim())).map(one => one.id)"
    )
    assert unnamed == []
    assert page.locator("[aria-live=polite]").count() == 1 and page.evaluate("document.documentElement.lang") == "en"
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_apart(browser: Any, address: str, scheme: str) -> None:
    """Contrast of text by WCAG 2.2, at least 4.5."""
    page = opened(browser, address, (scheme, 1200, 760))
    colours = page.evaluate(
        "Object.fromEntries(['ground','card','ink','soft','accent','on-accent','warn','warn-tint','track']"
        ".map(name => [name, getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()]))"
    )

    def light(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    pairs = [("ink", "card"), ("soft", "card"), ("soft", "ground"), ("soft", "track"), ("accent", "card")]
    for text, ground in [*pairs, ("on-accent", "accent"), ("warn", "warn-tint")]:
        one, other = sorted((light(colours[text]), light(colours[ground])))
        assert (other + 0.05) / (one + 0.05) >= 4.5, (text, ground)
    page.close()


def test_a_token_is_asked_for_once(browser: Any) -> None:
    with running(service_of(("land", ColourModel()), token="secret")) as address:
        page = opened(browser, address)
        page.get_by_label("Token").wait_for()
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Continue").click()
        page.get_by_text("not accepted").wait_for()
        page.get_by_label("Token").fill("secret")
        page.get_by_role("button", name="Continue").click()
        page.wait_for_selector("#images:not([hidden])")
        assert re.search("land", page.locator("#about").inner_text())
        page.close()


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """Of every item but each third; no picture can be read of i4."""
    colours = {f"i{number}": (4 * number, 90, 240 - 4 * number) for number in range(50) if number % 3}
    made = {item: thumbnail(np.full((40, 64, 3), colour, np.uint8)) for item, colour in colours.items()}
    return {**made, "i4": b"junk"}


@pytest.mark.parametrize("token", [None, "secret"])
def test_items_have_pictures_beside_their_titles(browser: Any, pictures: dict[str, bytes], token: str | None) -> None:
    with running(service_of(("shop", CountingModel(pictures=pictures)), token=token)) as address:
        for look in LOOKS if token is None else LOOKS[:1]:
            page = opened(browser, address, look)
            if token:
                page.get_by_label("Token").fill(token)
                page.get_by_role("button", name="Continue").click()
            page.get_by_role("combobox", name="User").fill("u1")
            page.get_by_role("button", name="Recommend").click()
            page.locator(".items li").first.wait_for()
            page.wait_for_load_state("networkidle")
            shown = page.evaluate(
                "[...document.querySelectorAll('.items li')].map(one => [one.querySelector('img.thumb')?.naturalWidth"
                " ?? null, one.querySelector('img.thumb')?.alt ?? '', one.querySelector('.title small').innerText])"
            )
            assert len(shown) == 10 and all(alt == "" for _, alt, _ in shown)
            for width, _, item in shown:
                number = int(item.removeprefix("i"))
                assert width == (None if number % 3 == 0 or number == 4 else 64), item
            assert page.locator(".chips li img.thumb").count() == 2
            lefts = page.evaluate("[...document.querySelectorAll('.title')].map(one => one.getBoundingClientRect().x)")
            assert len(set(lefts)) == 1, "titles stand below each other"
            keep(page, "pictures", look)
            assert [text for text in page.problems if "401" not in text] == []
            page.close()


def test_without_pictures_none_is_asked_for(browser: Any) -> None:
    with running(service_of(("shop", CountingModel()))) as address:
        page = opened(browser, address)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_role("combobox", name="User").fill("u1")
        page.get_by_role("button", name="Recommend").click()
        page.locator(".items li").first.wait_for()
        assert page.locator(".thumb").count() == 0 and page.locator(".pictured").count() == 0
        assert not [url for url in asked if "picture" in url]
        page.close()
