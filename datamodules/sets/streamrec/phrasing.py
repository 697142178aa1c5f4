"""Titles, descriptions and tags from the words of a topic and the phrases of a format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.sets.streamrec.draws import Draws
from datamodules.sets.streamrec.vocabulary import TOPICS

HOSTS: tuple[str, ...] = (
    *("Maria Lopez", "David Kim", "Aisha Khan", "Tom Becker", "Lena Novak", "Samuel Osei", "Priya Nair", "Jonas Berg"),
    *("Chloe Martin", "Diego Silva", "Hana Sato", "Oliver Grant", "Fatima Haddad", "Peter Olsen", "Nina Rossi"),
    "Marcus Cole",
)


@dataclass(frozen=True)
class Format:
    """A way to present a topic.

    Args:
        name: as it stands in tags.
        titles: phrases with {thing}, {host} or {other}.
        descriptions: likewise, and with {doing}.
    """

    name: str
    titles: tuple[str, ...]
    descriptions: tuple[str, ...]


FORMATS: tuple[Format, ...] = (
    Format(
        "guide",
        ("A beginner's guide to {thing}", "{thing} step by step", "Getting started with {thing}", "{thing} made easy"),
        (
            "{host} explains {thing} from the very first steps and shows you {doing}.",
            "Learn all about {thing} and {other} in clear steps, including {doing}.",
        ),
    ),
    Format(
        "documentary",
        ("The hidden story of {thing}", "Inside the world of {thing}", "{thing}: a film", "The past of {thing}"),
        (
            "A film about {thing} and the people behind it, told by {host}, with rare footage of people {doing}.",
            "How {thing} came to be what we know, and what {other} had to do with it. Narrated by {host}.",
        ),
    ),
    Format(
        "interview",
        ("{host} on {thing}", "{thing}: in conversation with {host}", "Ten questions about {thing} for {host}"),
        (
            "We talk with {host} about a life with {thing}, about {doing} and about {other}.",
            "{host} answers your questions on {thing} and speaks openly about {doing}.",
        ),
    ),
    Format(
        "live session",
        ("Live: {thing} with {host}", "{thing}, live and unedited", "An evening of {thing}", "{thing} live"),
        (
            "Recorded in one take: {host} and guests, {thing}, {other}, and a lot of {doing}.",
            "Join {host} live for {thing}. Tonight also {doing} and your comments.",
        ),
    ),
    Format(
        "review",
        ("{thing}: an honest review", "{thing} or {other}?", "The best and worst of {thing}", "Rating {thing}"),
        (
            "{host} compares {thing} with {other} and says what is worth your time and money.",
            "What is good about {thing}, what is not, and what {doing} has to do with it.",
        ),
    ),
    Format(
        "challenge",
        ("Thirty days of {thing}", "I tried {thing} for a week", "The great {thing} challenge", "{thing} against time"),
        (
            "Can {host} manage {thing} and {doing}, all in one week? It nearly goes wrong.",
            "One task, no help: {host} takes on {thing}, then {other}, then {doing}.",
        ),
    ),
)


@dataclass(frozen=True)
class Texts:
    """What is written about items; all lists have one entry an item.

    Args:
        titles: no two are the same: later ones of a name are numbered.
        descriptions: one or two sentences.
        tags: three, separated by commas: topic, format and what it deals with.
    """

    titles: list[str]
    descriptions: list[str]
    tags: list[str]


def write_texts(topics: NDArray[np.int64], formats: NDArray[np.int64], draws: Draws) -> Texts:
    """Texts for items of these topics and formats; they know nothing else of an item.

    Args:
        topics: [items] places in `TOPICS`.
        formats: [items] places in `FORMATS`.
        draws: the source of chance: the same draws give the same texts.
    """
    numbers = draws.integers(2**31, len(topics), 6).tolist()
    texts = Texts([], [], [])
    times_used: dict[str, int] = {}
    for topic, form, (a, b, c, d, e, f) in zip(topics.tolist(), formats.tolist(), numbers, strict=True):
        words, phrases = TOPICS[topic], FORMATS[form]
        thing = a % len(words.things)
        filling = {
            "thing": words.things[thing],
            "other": words.things[(thing + 1 + b % (len(words.things) - 1)) % len(words.things)],
            "doing": words.doings[c % len(words.doings)],
            "host": HOSTS[d % len(HOSTS)],
        }
        title = _capitalised(phrases.titles[e % len(phrases.titles)].format(**filling))
        times_used[title] = times_used.get(title, 0) + 1
        texts.titles.append(title if times_used[title] == 1 else f"{title} (part {times_used[title]})")
        texts.descriptions.append(_capitalised(phrases.descriptions[f % len(phrases.descriptions)].format(**filling)))
        texts.tags.append(f"{words.name}, {phrases.name}, {filling['thing']}")
    return texts


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
