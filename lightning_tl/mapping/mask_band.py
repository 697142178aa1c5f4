"""`MaskBand`: which band of which file is the mask of a scene, from what a user writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from lightning_tl.earth.bands import normalised
from lightning_tl.earth.layers import file_layers, opened
from lightning_tl.earth.products import is_raster
from lightning_tl.earth.reading_options import ReadingOptions
from lightning_tl.inputs.tiff_files import UnfitImageError

# Sentinel-2's scene classification (SCL): no data, defective, shadow of clouds, clouds of two probabilities, cirrus.
CLOUDS_OF_SCL = (0, 1, 3, 8, 9, 10)
_METRES = re.compile(r"[_.\s-](\d+)m$", re.IGNORECASE)


@dataclass(frozen=True)
class MaskBand:
    """One band of a file.

    Args:
        file: that holds it.
        number: its number there, from 1.
        called: what it is called, for messages and beside the map.
        scl: whether its name says that it is Sentinel-2's scene classification.
    """

    file: Path
    number: int
    called: str
    scl: bool

    @classmethod
    def of(cls, text: str, scene: Path, options: ReadingOptions) -> MaskBand:
        """What `--mask` names.

        Args:
            text: a file, a file with a colon and a band's number or name, or the name of a band of the scene.
            scene: its file, or the folder of its files.
            options: how the scene is read.

        Raises:
            ValueError: a file of several bands without a band, or a name that the scene does not have.
            FileNotFoundError: neither is there a file nor such a band.
            OSError: the file cannot be opened.
        """
        path = Path(text).expanduser()
        if path.exists():
            return cls._of_file(path, None)
        name, colon, band = text.rpartition(":")
        if colon and (Path(name).expanduser().exists() or band.isdigit()):
            return cls._of_file(Path(name).expanduser(), band)
        if is_raster(path.name) or path.name != text:
            raise FileNotFoundError(f"there is no file {text}")
        return cls._of_folder(text, scene) if scene.is_dir() else cls._of_scene(text, scene, options)

    @classmethod
    def _of_file(cls, path: Path, band: str | None) -> MaskBand:
        with opened(path) as file:
            names = [text or "" for text in file.descriptions]
        if band is None and len(names) > 1:
            raise ValueError(
                f"{path} has {len(names)} bands{_told(names)}: say which is the mask, by number or name, as "
                f"{path.name}:{len(names)}"
            )
        number = 1 if band is None else int(band) if band.isdigit() else _place(band, names, str(path)) + 1
        if not 1 <= number <= len(names):
            raise ValueError(f"{path} has {len(names)} bands, and the mask is to be band {number}")
        called = names[number - 1]
        scl = _is_scl(called) or (_is_scl(path.stem) and (len(names) == 1 or not called))
        return cls(path, number, path.name if len(names) == 1 else f"{path.name}:{called or number}", scl)

    @classmethod
    def _of_scene(cls, name: str, scene: Path, options: ReadingOptions) -> MaskBand:
        """By the names that the scene's bands are read by, else by the file's own, of which some may be no bands."""
        try:
            layers = file_layers(scene, options)
            layers.close()
            named = {layer.band.name: layer.number for layer in layers.layers}
        except UnfitImageError:  # its bands are not known by names; that is told where it is read
            named = {}
        with opened(scene) as file:
            named |= {text: k for k, text in enumerate(file.descriptions, 1) if text}
        there = list(named)
        try:
            place = _place(name, there, scene.name)
        except ValueError as error:
            raise FileNotFoundError(f"there is no file {name}, and {error}") from None
        return cls(scene, named[there[place]], f"{scene.name}:{there[place]}", _is_scl(there[place]))

    @classmethod
    def _of_folder(cls, name: str, scene: Path) -> MaskBand:
        """The file of a product that is called so, the finest where there are several."""
        files = sorted(path for path in scene.rglob("*") if is_raster(path.name) and not path.name.startswith("."))
        asked = f"_{name.casefold()}"
        fitting = [path for path in files if f"_{_METRES.sub('', path.stem).casefold()}".endswith(asked)]
        if not fitting:
            stems = {_METRES.sub("", path.stem).rpartition("_")[2]: path for path in files}
            near = get_close_matches(name.casefold(), [stem.casefold() for stem in stems], n=2, cutoff=0.5)
            hint = f"; did you mean {' or '.join(near).upper()}?" if near else f"; it has {_some(sorted(stems))}"
            raise FileNotFoundError(f"there is no file {name}, and none in {scene.name} is called after it{hint}")
        sizes = [int(found[1]) if (found := _METRES.search(path.stem)) else 0 for path in fitting]
        best = [path for path, size in zip(fitting, sizes, strict=True) if size == min(sizes)]
        if len(best) > 1:
            some = ", ".join(str(path) for path in best[:3])
            raise ValueError(f"{scene.name} has several files called after {name}: {some}; name one as the mask")
        mask = cls._of_file(best[0], None)
        return cls(mask.file, mask.number, f"{scene.name}:{best[0].name}", mask.scl)


def _is_scl(name: str) -> bool:
    """Whether SCL is a word of its own in a name: of `T33UUP_SCL_20m`, and not of `SCLouds`."""
    return "scl" in re.split(r"[^a-z0-9]+", name.casefold())


def _place(name: str, names: Sequence[str], where: str) -> int:
    heads = [normalised(text.split(",")[0]) for text in names]
    if heads.count(normalised(name)) == 1:
        return heads.index(normalised(name))
    near = get_close_matches(normalised(name), [head for head in heads if head], n=2, cutoff=0.5)
    hint = f"; did you mean {' or '.join(names[heads.index(each)] for each in near)}?" if near else _told(names)
    raise ValueError(f"{where} has no band '{name}'{hint}")


def _told(names: Sequence[str]) -> str:
    return f" ({_some([name for name in names if name])})" if any(names) else ", without names"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (" …" if len(names) > 12 else "")
