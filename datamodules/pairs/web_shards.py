"""Pairs from WebDataset shards: tar archives in which a sample's files follow each other and share a name."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_warn

from datamodules.labelled.labels import SPLIT_NAMES
from datamodules.labelled.records import UNDIVIDED, listed
from datamodules.pairs.blank_captions import is_blank
from datamodules.pairs.image_sources import Member
from datamodules.pairs.pair_records import CaptionedImage
from datamodules.pairs.pair_table import OnBad, tell_of_empty
from lightning_tl.contracts.notice import Notice
from lightning_tl.inputs.image_files import is_image

_PATTERN = "*.tar"
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def shard_files(path: Path) -> list[Path]:
    """The shards that a path names: an archive, a folder of them, or a pattern such as `folder/train-*.tar`.

    Returns:
        them in the order of their names; none where the path names no archives.

    Raises:
        FileNotFoundError: no file has a name of this pattern.
        ValueError: the archive is packed.
    """
    if path.is_dir():
        return sorted(path.rglob(_PATTERN))
    if path.name.lower().endswith(_PACKED):
        raise ValueError(
            f"{path} is packed: unpack it to a .tar first, so that any image is reached without the others"
        )
    if path.suffix.lower() != ".tar":
        return []
    if "*" not in path.name and "?" not in path.name:
        return [path]
    found = sorted(path.parent.glob(path.name))
    if not found:
        raise FileNotFoundError(f"no shard matches {path}; a pattern stands for names inside of one folder")
    return found


def shard_pairs(
    shards: Sequence[Path], captions: Sequence[str], on_empty_caption: OnBad, on_bad_image: OnBad
) -> list[CaptionedImage]:
    """Every sample of the shards that has an image, with the captions in its `txt` and `json` files.

    Only the headers of the archives are read, so that any image can be reached later without those before it. Where the
    names of all shards begin with `train`, `validation` or `test`, these are the splits.

    Args:
        shards: archives that are not packed.
        captions: fields of the `json` files, which hold a caption or a list of them.
        on_empty_caption: what to do with images without any caption.
        on_bad_image: what to do with captions without an image.

    Raises:
        FileNotFoundError: a shard is not there, or the image of a caption.
        ValueError: a shard cannot be read, or images have no caption.
    """
    firsts = [shard.name.lower().replace("_", "-").split("-")[0].split(".")[0] for shard in shards]
    divided = all(first in SPLIT_NAMES for first in firsts)
    found, empty, alone, total = [], [], [], 0
    for shard, first in zip(shards, firsts, strict=True):
        split = SPLIT_NAMES[first] if divided else UNDIVIDED
        for key, files in _samples(shard).items():
            image = next((member for ending, member in files.items() if is_image(f"x.{ending}")), None)
            name = f"{shard.name}/{key}"
            if image is None:
                if "txt" in files:
                    alone.append(name)
                continue
            total += 1
            texts = _texts(shard, key, files, captions)
            if texts:
                found.append(CaptionedImage(name, image, texts, split))
            else:
                empty.append(name)
    where = listed([shard.name for shard in shards], 2)
    _tell_of_alone(alone, f"{len(alone):,} captions in {where}", on_bad_image)
    what = f"{len(empty):,} of {total:,} images in {where}"
    fields = f"a txt file, or {', '.join(captions)} in a json file, of the same name"
    tell_of_empty(len(empty), what, fields, listed(empty), on_empty_caption)
    return found


def _tell_of_alone(alone: Sequence[str], what: str, on_bad_image: OnBad) -> None:
    if not alone:
        return
    told = f"{what} have no image of the same name beside them: {listed(alone)}"
    if on_bad_image == "error":
        raise FileNotFoundError(f"{told}; make the shards anew, or set on_bad_image to skip")
    rank_zero_warn(f"{told}; they are left out", category=Notice)


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
    return tuple(dict.fromkeys(text.strip() for text in found if not is_blank(text)))


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
