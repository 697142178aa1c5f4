"""The simulated world: repeatable to the last digit, honest about time, and with a truth that is true."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from datamodules.sets import streamrec
from datamodules.sets.streamrec import StreamRec, StreamRecSettings, oracle_scores, simulate, text_scores
from datamodules.sets.streamrec.appeal import appeal_share
from datamodules.sets.streamrec.draws import Draws, pick
from datamodules.sets.streamrec.events import Events
from datamodules.sets.streamrec.growth import growth
from datamodules.sets.streamrec.match import match
from datamodules.sets.streamrec.openings import draw_openings
from datamodules.sets.streamrec.phrasing import FORMATS
from datamodules.sets.streamrec.tastes import tastes_at
from datamodules.sets.streamrec.vocabulary import CATEGORIES, TOPICS

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = StreamRecSettings(users=120, items=400, days=60)
SMALL_DIGEST = "80299aa5c2f5465b56fecec1fefcde41ec40be9dbe6383609a8bc4e122674e7c"
DEFAULT_DIGEST = "bc03f91f28d63e2b73da22ced4250b8edc4d300dc197c42356be62b3886d5074"
DAY_S = 86_400


@pytest.fixture(scope="module")
def small() -> StreamRec:
    return simulate(SMALL)


@pytest.fixture(scope="module")
def default() -> StreamRec:
    return simulate()


def numbers(world: StreamRec) -> Events:
    """The events by numbers of users and items."""
    events = world.events
    return Events(
        events["user"].str[5:].astype(np.int64).to_numpy(),
        events["item"].str[5:].astype(np.int64).to_numpy(),
        events["time"].to_numpy(),
        (events["completion"] * 100).round().astype(np.int64).to_numpy(),
    )


def test_the_small_world_is_the_known_one(small: StreamRec) -> None:
    assert small.digest() == SMALL_DIGEST == simulate(SMALL).digest()


def test_the_default_world_is_the_known_one(default: StreamRec) -> None:
    assert default.digest() == DEFAULT_DIGEST


def test_another_machine_makes_the_same_world() -> None:
    """Two threads, and a processor without wide vectors, where numpy's own `exp` and sums differ in the last digits."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    wide = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    other = {"OMP_NUM_THREADS": "2", "PYTHONHASHSEED": "1", "NPY_DISABLE_CPU_FEATURES": " ".join(wide)}
    code = (
        "from numpy._core._multiarray_umath import __cpu_features__;"
        f"assert not any(__cpu_features__[name] for name in {wide!r});"
        "from datamodules.sets.streamrec import StreamRecSettings, simulate;"
        f"print(simulate(StreamRecSettings(**{asdict(SMALL)!r})).digest())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **other}, capture_output=True, text=True
    )
    assert found.stdout.strip() == SMALL_DIGEST, found.stderr


def test_nothing_that_differs_between_machines_is_called() -> None:
    """Logarithms, matrix products and distributions of numpy may change; the oracle alone decides nothing."""
    forbidden = {"exp", "exp2", "log", "log1p", "power", "sin", "cos", "tanh", "einsum", "dot", "matmul", "hash"}
    forbidden |= {"default_rng", "Generator", "normal", "standard_normal", "choice", "shuffle", "mean", "std"}
    for path in sorted(Path(streamrec.__file__).parent.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        products = [node for node in ast.walk(tree) if isinstance(node, ast.MatMult)]
        assert not names & forbidden and not products, path.name


def test_other_seeds_are_other_worlds(small: StreamRec) -> None:
    other = simulate(replace(SMALL, seed=1))
    assert other.digest() != small.digest()
    for name in ("topics", "styles", "released"):
        assert not np.array_equal(getattr(other.item_truth, name), getattr(small.item_truth, name))


def test_parts_of_a_world_do_not_disturb_each_other(small: StreamRec) -> None:
    """Another number of users leaves the catalogue as it is, and other tastes leave both tables."""
    more = simulate(replace(SMALL, users=150))
    pd.testing.assert_frame_equal(more.items, small.items)
    np.testing.assert_array_equal(more.thumbnails, small.thumbnails)
    stronger = simulate(replace(SMALL, style_strength=2.0))
    pd.testing.assert_frame_equal(stronger.items, small.items)
    pd.testing.assert_frame_equal(stronger.users, small.users)
    assert not stronger.events.equals(small.events)


def test_tables_are_what_they_say(small: StreamRec) -> None:
    items, users, events = small.items, small.users, small.events
    assert list(items) == ["item", "title", "description", "tags", "category", "released"]
    assert list(users) == ["user", "age_band", "gender", "country"]
    assert list(events) == ["user", "item", "time", "completion"]
    assert (len(items), len(users), small.thumbnails.shape) == (400, 120, (400, 32, 32, 3))
    assert small.thumbnails.dtype == np.uint8 and events["time"].dtype == items["released"].dtype == np.int64
    for table in (items, users, events):
        assert not table.isna().any(axis=None)
    for ids in (items["item"], users["user"], items["title"]):
        assert ids.is_unique
    assert items["item"].is_monotonic_increasing and users["user"].is_monotonic_increasing
    assert events["user"].isin(users["user"]).all() and events["item"].isin(items["item"]).all()
    assert events["completion"].between(0, 1).all()
    ordered = events.sort_values(["user", "time"], kind="stable")
    pd.testing.assert_frame_equal(ordered, events)
    assert set(items["category"]) <= set(CATEGORIES)


def test_times_lie_in_the_period_and_after_release(small: StreamRec) -> None:
    found = numbers(small)
    assert SMALL.start <= found.times.min() and found.times.max() < SMALL.end == SMALL.start + 60 * DAY_S
    assert (found.times >= small.item_truth.released[found.items]).all()
    assert (found.times >= small.user_truth.joined[found.users]).all()
    released = small.items["released"]
    assert (released < SMALL.start).mean() == pytest.approx(SMALL.early_share, abs=0.1)
    assert released.max() > SMALL.end - 3 * DAY_S  # new ones come to the very end


def test_texts_tell_topic_and_format_and_nothing_is_left_to_fill(default: StreamRec) -> None:
    truth, items = default.item_truth, default.items
    for k in range(0, len(items), 7):
        topic, form, thing = items["tags"][k].split(", ")
        assert topic == TOPICS[truth.topics[k]].name and form == FORMATS[truth.formats[k]].name
        assert thing in TOPICS[truth.topics[k]].things
        assert thing.lower() in items["title"][k].lower() and items["category"][k] == TOPICS[truth.topics[k]].category
    texts = items["title"] + ". " + items["description"]
    assert not texts.str.contains("[{}]").any() and texts.str.split().str.len().max() < 50
    assert items["description"].str.split().str.len().max() <= 30


def test_topics_have_words_of_their_own() -> None:
    assert len(TOPICS) == 40 and len({topic.name for topic in TOPICS}) == 40
    for topic in TOPICS:
        assert len(set(topic.things)) >= 7 and len(set(topic.doings)) == 4, topic.name
        assert all(words == words.strip() != "" for words in topic.things + topic.doings)
    things = [thing for topic in TOPICS for thing in topic.things]
    assert len(things) == len(set(things))


def test_what_was_opened_and_not_completed_is_there(default: StreamRec) -> None:
    taken = default.events["completion"] >= 0.5
    assert 100_000 <= taken.sum() <= 200_000
    assert 0.2 < 1 - taken.mean() < 0.6
    for side in (taken, ~taken):
        assert default.events["completion"][side].nunique() >= 50


def test_some_things_are_opened_again(default: StreamRec) -> None:
    again = default.events.duplicated(["user", "item"])
    assert 0.001 < again.mean() < 0.1

    def repeats(rewatch: float) -> int:
        return int(simulate(replace(SMALL, rewatch=rewatch)).events.duplicated(["user", "item"]).sum())

    assert repeats(0.0) == 0 and repeats(1.0) > 1000
    assert repeats(0.3) / repeats(1.0) == pytest.approx(0.3, abs=0.05)


def test_every_opening_by_taste_finds_something_in_a_full_catalogue() -> None:
    full = replace(SMALL, early_share=1.0, popular_share=0.0, random_share=0.0, rewatch=1.0, items=2000)
    world = simulate(full)
    owners, times = draw_openings(full, world.user_truth, Draws(full.seed, 4))
    found = numbers(world)
    np.testing.assert_array_equal(found.users, owners)
    np.testing.assert_array_equal(found.times, times)
    assert len(owners) == pytest.approx(full.users * full.openings_per_user, rel=0.2)


def test_completion_follows_the_true_liking(default: StreamRec) -> None:
    """Of what was opened, that which suits a user better is completed more often, in the proportion that is set."""
    found, settings = numbers(default), default.settings
    tastes = tastes_at(settings, default.user_truth, found.users, found.times)
    truth, rows = default.item_truth, np.arange(len(found.items))
    styles = (tastes.styles * truth.styles[found.items]).sum(axis=1) / np.sqrt(settings.styles)
    liking = tastes.topics[rows, truth.topics[found.items]] + tastes.formats[rows, truth.formats[found.items]] + styles
    expected = 1 / (1 + np.exp(1.0 - settings.completion_strength * liking))
    for low in np.arange(0.1, 0.9, 0.1):
        near = (expected >= low) & (expected < low + 0.1)
        error = 4 * np.sqrt(0.25 / near.sum()) + 0.005
        assert (found.percent[near] >= 50).mean() == pytest.approx(expected[near].mean(), abs=error)


def test_tastes_drift(small: StreamRec) -> None:
    users = np.arange(SMALL.users)
    days = {day: np.full(SMALL.users, SMALL.start + day * DAY_S) for day in (0, 30, 60)}
    at = {day: tastes_at(SMALL, small.user_truth, users, times) for day, times in days.items()}
    for name in ("topics", "styles"):
        first, middle, last = (getattr(at[day], name) for day in (0, 30, 60))
        assert np.abs(last - first).mean() > np.abs(middle - first).mean() > 0.1
        assert np.std(last) == pytest.approx(np.std(first), rel=0.1)
    still = tastes_at(replace(SMALL, drift=0.0), small.user_truth, users, np.full(SMALL.users, SMALL.end))
    np.testing.assert_array_equal(still.topics, at[0].topics)


def test_what_is_popular_changes(default: StreamRec) -> None:
    """The most opened of the first and of the last month are hardly the same, apart from evergreens."""
    found, settings = numbers(default), default.settings
    early = np.bincount(found.items[found.times < settings.start + 30 * DAY_S], minlength=settings.items)
    late = np.bincount(found.items[found.times >= settings.end - 30 * DAY_S], minlength=settings.items)
    top = {name: set(np.argsort(-counts, kind="stable")[:100]) for name, counts in (("early", early), ("late", late))}
    assert len(top["early"] & top["late"]) < 40
    evergreen = default.item_truth.evergreen
    assert evergreen[list(top["early"] & top["late"])].mean() > evergreen.mean()


def test_profiles_shift_tastes(default: StreamRec) -> None:
    """Users of one country agree more on topics than users of different ones, a little."""
    found, topics = numbers(default), len(TOPICS)
    taken = found.percent >= 50
    shares = np.zeros((default.settings.users, topics))
    np.add.at(shares, (found.users[taken], default.item_truth.topics[found.items[taken]]), 1)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1)
    country = default.user_truth.countries
    means = np.stack([shares[country == k].mean(axis=0) for k in range(8)])
    shuffled = np.random.default_rng(0).permutation(country)
    chance = np.stack([shares[shuffled == k].mean(axis=0) for k in range(8)])
    assert means.std(axis=0).mean() > 1.5 * chance.std(axis=0).mean()


def test_thumbnails_show_a_little_of_the_style_and_texts_nothing(default: StreamRec) -> None:
    styles, pictures = default.item_truth.styles, default.thumbnails.astype(np.float64)
    light = pictures[:, :, 24:].mean(axis=(1, 2, 3)) - pictures[:, :, :8].mean(axis=(1, 2, 3))
    warmth = (pictures[:, 12:20, 12:20, 0] - pictures[:, 12:20, 12:20, 2]).mean(axis=(1, 2))
    for seen, k in ((light, 0), (warmth, 2)):
        assert 0.3 < np.corrcoef(seen, styles[:, k])[0, 1] < 0.95
    words = np.eye(len(TOPICS))[default.item_truth.topics]
    by_topic = words.T @ styles / words.sum(axis=0)[:, None]
    assert np.abs(by_topic).max() < 4.5 / np.sqrt(words.sum(axis=0).min())
    for category in CATEGORIES:
        assert pictures[default.items["category"] == category].std(axis=0).mean() < pictures.std(axis=0).mean()


def slow_score(world: StreamRec, user: int, time: int, item: int, opened: set[int]) -> float:
    """The chance that an opening is a completed one of this item, written out with plain numbers."""
    settings, items, people = world.settings, world.item_truth, world.user_truth

    def at(first: np.ndarray, last: np.ndarray) -> list[float]:
        moved = settings.drift * (time - settings.start) / (settings.days * DAY_S)
        size = ((1 - moved) ** 2 + moved**2) ** 0.5
        return [
            ((1 - moved) * float(a) + moved * float(b)) / size for a, b in zip(first[user], last[user], strict=True)
        ]

    moved_topics = zip(at(people.first_topics, people.last_topics), people.profile[user], strict=True)
    topics = [settings.topic_strength * a + settings.profile_strength * float(b) for a, b in moved_topics]
    style = at(people.first_styles, people.last_styles)

    def e(x: float) -> float:
        return float((1 + x / 256) ** 256)

    def appeal(k: int) -> float:
        days = (time - int(items.released[k])) / DAY_S
        if days < 0:
            return 0.0
        low = 1.0 if items.evergreen[k] else settings.fade_floor
        fade = low + (1 - low) / (1 + (days / settings.fade_days) ** 2)
        return float(items.appeals[k]) * days / (days + settings.rise_days) * fade

    def suits(k: int) -> float:
        product = sum(a * float(b) for a, b in zip(style, items.styles[k], strict=True))
        taste = settings.format_strength * float(people.formats[user, items.formats[k]])
        return taste + settings.style_strength * product / settings.styles**0.5

    if time < items.released[item]:
        return 0.0
    mine = int(items.topics[item])
    rivals = [k for k in range(settings.items) if items.topics[k] == mine]
    total = sum(appeal(k) * e(suits(k)) for k in rivals)
    by_taste = e(topics[mine]) / sum(e(x) for x in topics) * appeal(item) * e(suits(item)) / total if total else 0.0
    popular = appeal(item) / sum(float(a) for a in items.appeals)
    shares = settings.popular_share, settings.random_share
    chance = (1 - sum(shares)) * by_taste + shares[0] * popular + shares[1] / settings.items
    odds = e(settings.completion_strength * (topics[mine] + suits(item)) - 1)
    return chance * odds / (1 + odds) * (settings.rewatch if item in opened else 1)


def test_the_oracle_is_what_a_slow_one_says(small: StreamRec) -> None:
    found = numbers(small)
    events = [5, len(found.users) // 2, len(found.users) - 1]
    scores = oracle_scores(small, found.users[events], found.times[events])
    for row, event in enumerate(events):
        user, time = int(found.users[event]), int(found.times[event])
        opened = {
            int(i) for u, i, t in zip(found.users, found.items, found.times, strict=True) if u == user and t < time
        }
        for item in [*range(0, SMALL.items, 19), *list(opened)[:5]]:
            assert scores[row, item] == pytest.approx(slow_score(small, user, time, item, opened), rel=1e-9, abs=1e-15)


def queries_of(world: StreamRec) -> tuple[Events, np.ndarray, np.ndarray]:
    """Events, which of them are first takings in the last third, and [queries, items] what was taken before."""
    found = numbers(world)
    taken = np.flatnonzero(found.percent >= 50)
    chosen, before = [], []
    seen: dict[int, set[int]] = {}
    for event in taken:
        mine = seen.setdefault(int(found.users[event]), set())
        if found.items[event] not in mine and found.times[event] > world.settings.start + world.settings.days * 57_600:
            chosen.append(event)
            row = np.zeros(world.settings.items, bool)
            row[list(mine)] = True
            before.append(row)
        mine.add(int(found.items[event]))
    return found, np.array(chosen), np.stack(before)


def test_the_oracle_foretells_how_often_it_is_right(small: StreamRec) -> None:
    """The truth is calibrated: its own probability of a hit among the best k is how often that happens."""
    found, events, before = queries_of(small)
    scores = np.where(before, 0, oracle_scores(small, found.users[events], found.times[events]))
    chances = scores / scores.sum(axis=1, keepdims=True)
    best = np.argsort(-chances, axis=1, kind="stable")
    for k in (1, 5, 20, 80):
        expected = np.take_along_axis(chances, best[:, :k], axis=1).sum(axis=1)
        hits = (best[:, :k] == found.items[events][:, None]).any(axis=1)
        error = 3.5 * np.sqrt((expected * (1 - expected)).sum()) / len(events)
        assert hits.mean() == pytest.approx(expected.mean(), abs=error)


def test_the_oracle_beats_its_text_part_and_that_beats_chance(small: StreamRec) -> None:
    found, events, before = queries_of(small)
    users, times, targets = found.users[events], found.times[events], found.items[events]
    hits = {}
    for name, scores in (
        ("oracle", oracle_scores(small, users, times)),
        ("text", text_scores(small, users, times)),
        ("chance", np.random.default_rng(0).random((len(events), SMALL.items))),
    ):
        scores = np.where(before, -1, scores)
        ahead = (scores >= np.take_along_axis(scores, targets[:, None], axis=1)).sum(axis=1) - 1
        hits[name] = (ahead < 20).mean()
    assert hits["oracle"] > 1.5 * hits["text"] > 3 * hits["chance"] and hits["chance"] < 0.1


def test_the_oracle_knows_nothing_that_comes_later(small: StreamRec) -> None:
    found = numbers(small)
    users, times = found.users[::97], found.times[::97]
    past = replace(small, events=small.events[small.events["time"] < times.min()].reset_index(drop=True))
    early = times == times.min()
    np.testing.assert_array_equal(oracle_scores(past, users, times)[early], oracle_scores(small, users, times)[early])
    assert (oracle_scores(small, users, times)[times[:, None] < small.item_truth.released] == 0).all()
    assert (text_scores(small, users, times)[times[:, None] < small.item_truth.released] == 0).all()


@pytest.mark.parametrize("score", [oracle_scores, text_scores])
@pytest.mark.parametrize(
    ("users", "times", "message"),
    [
        ([0, 120], [1, 1], "users must be from 0 to 119, got 0 to 120"),
        ([-1], [1], "users must be from 0 to 119, got -1 to -1"),
        ([0, 1], [1], r"lists of one length, got shapes \(2,\) and \(1,\)"),
    ],
)
def test_who_cannot_be_asked_about(small: StreamRec, score, users: list[int], times: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(small, np.array(users), np.array(times))


def test_what_is_written_is_read_back(small: StreamRec, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "world"
    small.write(folder)
    small.write(folder)  # again, over what is there
    assert sorted(path.name for path in folder.iterdir()) == [
        "events.parquet",
        "items.parquet",
        "settings.json",
        "users.parquet",
    ]
    items = pd.read_parquet(folder / "items.parquet")
    pictures = np.stack([np.asarray(Image.open(io.BytesIO(data))) for data in items.pop("thumbnail")])
    np.testing.assert_array_equal(pictures, small.thumbnails)
    pd.testing.assert_frame_equal(items, small.items, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "users.parquet"), small.users, check_dtype=False)
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "events.parquet"), small.events, check_dtype=False)
    assert StreamRecSettings(**json.loads((folder / "settings.json").read_text(encoding="utf-8"))) == SMALL


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("users", 0, "users must be from 1 to 1,000,000, got 0"),
        ("users", -5, "users must be from 1 to 1,000,000, got -5"),
        ("users", 10.5, "users must be a whole number, got 10.5"),
        ("users", True, "users must be a whole number, got True"),
        ("items", 99, "items must be from 100 to 1,000,000, got 99"),
        ("days", 1, "days must be from 2 to 3,650, got 1"),
        ("seed", -1, "seed must be from 0"),
        ("drift", 1.5, "drift must be from 0 to 1, got 1.5"),
        ("drift", float("nan"), "drift must be from 0 to 1, got nan"),
        ("drift", "much", "drift must be a number, got 'much'"),
        ("fade_days", 0.0, "fade_days must be from 0.01"),
        ("popular_share", 0.99, "popular_share and random_share must be at most 1 together, got 1.04"),
    ],
)
def test_what_is_no_setting(setting: str, value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamRecSettings(**{setting: value})


@pytest.mark.parametrize(
    "changes",
    [
        {"users": 1, "items": 100, "days": 2, "openings_per_user": 1},
        {"early_share": 0.0, "days": 5},
        {"start": 1_704_110_000, "days": 2, "users": 300},
        {"early_share": 1.0, "evergreen_share": 1.0, "drift": 1.0},
        {"popular_share": 0.0, "random_share": 0.0, "styles": 1},
        {"popular_share": 0.5, "random_share": 0.5, "styles": 16},
        {"topic_strength": 4, "style_strength": 4, "format_strength": 4, "styles": 8},
        {"seed": 2**63 - 1, "openings_per_user": 2000, "users": 3, "rewatch": 1.0},
    ],
)
def test_worlds_at_the_limits(changes: dict[str, float]) -> None:
    world = simulate(StreamRecSettings(**{"users": 30, "items": 150, "days": 20, **changes}))  # type: ignore[arg-type]
    found = numbers(world)
    assert (found.times >= world.item_truth.released[found.items]).all()
    assert (found.times >= world.settings.start).all() and (found.times < world.settings.end).all()
    assert ((found.percent >= 0) & (found.percent <= 100)).all()
    users = np.arange(world.settings.users)
    scores = oracle_scores(world, users, np.full(len(users), world.settings.end - 1))
    assert np.isfinite(scores).all() and (scores >= 0).all() and (scores.sum(axis=1) > 0).all()


@given(st.lists(st.lists(st.sampled_from([0.0, 0.1, 0.5, 1.0, 3e9]), min_size=3, max_size=3), max_size=5), st.data())
@hypothesis_settings(deadline=None, max_examples=50)
def test_pick_is_what_a_slow_search_finds(weights: list[list[float]], data: st.DataObject) -> None:
    chance = st.sampled_from([0.0, 0.25, 0.5, 1 - 2.0**-53]) | st.floats(0, 1, exclude_max=True)
    marks = data.draw(st.lists(chance, min_size=len(weights), max_size=len(weights)))
    found = pick(np.array(weights).reshape(-1, 3), np.array(marks, np.float64))
    for row, (line, mark) in enumerate(zip(weights, marks, strict=True)):
        total, wanted = 0.0, -1
        for k in range(3):
            if line[k] > 0 and (wanted < 0 or total <= mark * sum(line)):
                wanted = k
            total += line[k]
        assert found[row] == wanted
        assert pick(np.array(line), np.array([mark]))[0] == wanted


def test_numbers_are_drawn_as_they_should_be() -> None:
    draws = Draws(3, 1)
    uniforms, normals = draws.uniforms(40_000), draws.normals(40_000)
    assert uniforms.min() >= 0 and uniforms.max() < 1
    assert uniforms.mean() == pytest.approx(0.5, abs=0.01) and uniforms.var() == pytest.approx(1 / 12, abs=0.002)
    assert normals.mean() == pytest.approx(0, abs=0.02) and normals.var() == pytest.approx(1, abs=0.03)
    assert sorted(draws.order(50).tolist()) == list(range(50))
    assert set(draws.integers(5, 1000).tolist()) == set(range(5))
    known = np.random.Generator(np.random.PCG64(np.random.SeedSequence(3, spawn_key=(1,)))).random(3)
    np.testing.assert_array_equal(Draws(3, 1).uniforms(3), known)
    assert not np.array_equal(Draws(3, 2).uniforms(3), known)


def test_growth_is_nearly_the_exponential_and_never_falls() -> None:
    x = np.linspace(-100, 100, 4001)
    found = growth(x)
    assert (np.diff(found) >= 0).all() and (found > 0).all() and (np.diff(found)[800:3200] > 0).all()
    near = np.abs(x) <= 3
    np.testing.assert_allclose(found[near], np.exp(x[near]), rtol=0.02)


def test_match_is_a_scaled_product() -> None:
    generator = np.random.default_rng(0)
    taste, style = generator.normal(size=(5, 1, 3)), generator.normal(size=(1, 7, 3))
    np.testing.assert_allclose(match(taste, style), (taste * style).sum(axis=-1) / 3**0.5)


def test_appeal_rises_and_fades() -> None:
    settings = StreamRecSettings(rise_days=1.0, fade_days=30.0, fade_floor=0.2)
    ages = np.array([-5, 0, 1, 30, 10_000]) * DAY_S
    fading, lasting = (appeal_share(settings, ages, np.array(flag)) for flag in (False, True))
    assert fading[:2].tolist() == lasting[:2].tolist() == [0, 0]
    assert lasting[2:].tolist() == pytest.approx([0.5, 30 / 31, 1], abs=1e-3)
    assert fading[3:].tolist() == pytest.approx([30 / 31 * 0.6, 0.2], abs=1e-3)
