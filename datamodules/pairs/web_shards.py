"""Pairs from WebDataset shards: tar archives in which a sample's files follow each other and share a name."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datamodules.labelled.labels import SPLIT_NAMES
from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.pairs.image_sources import Member
from datamodules.pairs.pair_records import CaptionedImage
from datamodules.pairs.pair_table import OnBad, tell_of_empty
from lightning_tl.inputs.image_files import is_image

_PATTERN = "*.tar"


def shard_files(path: Path) -> list[Path]:
    """The shards that a path names: an archive, a folder of them, or a pattern such as `folder/train-*.tar`.

    Returns:
        them in the order of their names; none where the path names no archives.
    """
    if path.is_dir():
        return sorted(path.rglob(_PATTERN))
    if path.suffix.lower() == ".tar":
        return sorted(path.parent.glob(path.name)) if "*" in path.name or "?" in path.name else [path]
    return []


def shard_pairs(shards: Sequence[Path], captions: Sequence[str], on_empty_caption: OnBad) -> list[CaptionedImage]:
    """Every sample of the shards that has an image, with the captions in its `txt` and `json` files.

    Only the headers of the archives are read, so that any image can be reached later without those before it. Where the
    names of all shards begin with `train`, `validation` or `test`, these are the splits.

    Args:
        shards: archives that are not packed.
        captions: fields of the `json` files, which hold a caption or a list of them.
        on_empty_caption: what to do with images without any caption.

    Raises:
        FileNotFoundError: a shard is not there.
        ValueError: a shard cannot be read, or images have no caption.
    """
    firsts = [shard.name.lower().replace("_", "-").split("-")[0].split(".")[0] for shard in shards]
    divided = all(first in SPLIT_NAMES for first in firsts)
    found, empty, total = [], [], 0
    for shard, first in zip(shards, firsts, strict=True):
        split = SPLIT_NAMES[first] if divided else UNDIVIDED
        for key, files in _samples(shard).items():
            image = next((member for ending, member in files.items() if is_image(f"x.{ending}")), None)
            if image is None:
                continue
            total += 1
            name, texts = f"{shard.name}/{key}", _texts(shard, key, files, captions)
            if texts:
                found.append(CaptionedImage(name, image, texts, split))
            else:
                empty.append(name)
    what = f"{len(empty):,} of {total:,} images in {listed([shard.name for shard in shards], 2)}"
    fields = f"a txt file, or {', '.join(captions)} in a json file, of the same name"
    tell_of_empty(len(empty), what, fields, listed(empty), on_empty_caption)
    return found


def _samples(shard: Path) -> dict[str, dict[str, Member]]:
    """The files of each sample by their endings; a sample's name is all before the first dot of the file's name."""
    if not shard.is_file():
        raise FileNotFoundError(f"there is no shard {shard}")
    samples: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                key, _, ending = name.partition(".")
                if member.isfile() and key and ending:
                    place = Member(shard, member.offset_data, member.size)
                    samples.setdefault(f"{folder}/{key}" if folder else key, {})[ending.lower()] = place
    except tarfile.TarError as error:
        raise ValueError(
            f"{shard} cannot be read as a tar archive: {error}. Packed shards (.tar.gz) must be unpacked first; one "
            "that ends too early must be fetched again"
        ) from None
    return samples


def _texts(shard: Path, key: str, files: dict[str, Member], captions: Sequence[str]) -> tuple[str, ...]:
    found: list[str] = []
    for ending in ("txt", "json"):
        if ending not in files:
            continue
        try:
            text = files[ending].read().decode("utf-8-sig")
            found += text.splitlines() if ending == "txt" else _fields(json.loads(text), captions)
        except (OSError, ValueError) as error:
            raise ValueError(f"{key}.{ending} in {shard} cannot be read: {error}") from None
    return tuple(dict.fromkeys(text.strip() for text in found if text.strip()))


def _fields(settings: Any, captions: Sequence[str]) -> list[str]:
    if not isinstance(settings, dict):
        raise ValueError("it is no JSON object")
    found: list[str] = []
    for name in captions:
        value = settings.get(name)
        for each in value if isinstance(value, list) else [value]:
            if each is not None and not isinstance(each, str):
                raise ValueError(f"its {name} is a {type(each).__name__}, and must be a text or a list of texts")
            found += [each] if each else []
    return found
