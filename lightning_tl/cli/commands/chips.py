"""`chips`: chips for training, cut from a scene by its labels."""

from __future__ import annotations

from datamodules.earth.cutting.cut_chips import CLASSES, MANIFEST, ChipCutter, CuttingOptions
from datamodules.earth.cutting.scene_of_product import open_scene
from datamodules.earth.space import SplitInSpace
from lightning_tl.cli.commands.chips_options import ChipsOptions
from lightning_tl.reports.progress import progress_bar

_CHIPS = 16  # along the side of a block, where nobody says how large blocks are
_LEAST = 8  # blocks along a side of the scene, where it is small
_DEGREE_KM = 111.2


def run_chips(wanted: ChipsOptions) -> None:
    """Cut, and say what was done.

    Args:
        wanted: from `read_chips_options`.

    Raises:
        ValueError: see `ChipCutter`.
        OSError: a file cannot be read or written.
    """
    options = CuttingOptions(
        wanted.size,
        wanted.stride,
        wanted.class_field,
        wanted.layer,
        wanted.least_labelled,
        wanted.most_missing,
        _split(wanted),
        wanted.classes,
    )
    cutter = ChipCutter(wanted.scene, wanted.labels, wanted.output, options, wanted.overwrite)
    try:
        for note in cutter.notes:
            print(note, flush=True)
        told = len(cutter.notes)
        bar = progress_bar(len(cutter.grid.windows()), "Cutting", "windows")
        table = cutter.cut(bar.update)
        bar.close()
    finally:
        cutter.close()
    for note in cutter.notes[told:]:
        print(note)
    for name, count in table["label"].value_counts().sort_index().items():
        print(f"  {name}: most of {count:,} chips")
    print(f"{len(table):,} chips in {wanted.output}: {MANIFEST} lists them, {CLASSES} names their classes")


def _split(wanted: ChipsOptions) -> SplitInSpace | None:
    if wanted.block_km == 0:
        return None
    block_km = wanted.block_km
    if block_km is None:
        with open_scene(wanted.scene) as scene:
            pixel = scene.pixel_area**0.5
            pixel_km = pixel * _DEGREE_KM if scene.metre is None else pixel * scene.metre / 1000
            across = (scene.height * scene.width) ** 0.5 / wanted.size
        chips = max(1, min(_CHIPS, round(across / _LEAST)))
        block_km = float(f"{chips * wanted.size * pixel_km:.3g}")
        print(f"blocks of {block_km:g} km ({chips} chips), each in one split; --block_km chooses others", flush=True)
    return SplitInSpace(block_km, wanted.validation, wanted.test, wanted.seed, wanted.gap)
