"""What `map` tells of a run, a scene and what the map took."""

from __future__ import annotations

from lightning_tl.contracts.class_colours import class_colours
from lightning_tl.contracts.mask_legend import Colour, MaskLegend
from lightning_tl.contracts.run_description import RunDescription
from lightning_tl.mapping.plans import MapPlan
from lightning_tl.mapping.scene_map import Spent
from lightning_tl.mapping.scene_source import SceneSource

_SAME_SCALE = 0.05  # of a pixel's side


def scale_notes(description: RunDescription, source: SceneSource, plan: MapPlan, window_given: bool) -> list[str]:
    """What to tell where the model may see the ground at another scale than in training.

    Args:
        description: of the run.
        source: the scene.
        plan: of the map.
        window_given: whether the user chose the window.
    """
    told, notes = description.input, []
    if not window_given and "tile_size" not in told:
        notes.append(
            f"the run does not say how large its training images were: windows are of {plan.window} pixels, the "
            "model's size; where these were others that were resized, give theirs as --window"
        )
    trained, here = told.get("pixel_m"), pixel_m(source)
    if trained is not None and here is not None and abs(here / trained - 1) > _SAME_SCALE:
        notes.append(
            f"pixels of the scene are {here:g} m wide, those of the run's training images {trained:g} m: the model "
            "sees the ground at another scale than it learned"
        )
    return notes


def pixel_m(source: SceneSource) -> float | None:
    """Side of a pixel in metres; None in degrees and without georeference."""
    grid = source.raster.grid
    if not source.raster.georeferenced or not grid.crs.is_projected:
        return None
    return grid.pixel * float(grid.crs.linear_units_factor[1])


def colours_of_run(description: RunDescription) -> list[Colour]:
    """Of the classes: those of the masks that the run learned from, else such as their names suggest."""
    told = description.columns.get("legend")
    legend = None if told is None else MaskLegend.from_json(told)
    if legend is None or not set(description.class_names) <= set(legend.names):
        return class_colours(description.class_names)
    return [legend.colours[legend.names.index(name)] for name in description.class_names]


def told_of(spent: Spent, processes: int, seconds: float) -> str:
    """How fast the map was made.

    Args:
        spent: of all processes.
        processes: how many.
        seconds: from the first block to the last.
    """
    if not spent.pixels:
        return "all blocks were there"
    return (
        f"{spent.pixels:,} pixels in {seconds:.1f} s by {processes} process{'es' if processes > 1 else ''}: reading "
        f"{spent.pixels / max(spent.reading_s, 1e-9):,.0f} a second, scoring "
        f"{spent.pixels / max(spent.scoring_s, 1e-9):,.0f} a second, of one process"
    )
