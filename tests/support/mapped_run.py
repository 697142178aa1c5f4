"""A run on chips of a small scene of four bands, for the tests of maps: water, forest, bare soil from west to east."""

from __future__ import annotations

from pathlib import Path

import torch
from tiny_scenes import box_polygon, scene_values, write_polygons, write_raster
from transformers import ViTConfig, ViTModel

from lightning_tl.cli import main

RECIPE = """\
# A recipe of the user's own.
model:
  class_path: lightning_tl.strategies.FineTune
  init_args:
    lr: 0.01
    backbone:
      class_path: lightning_tl.backbones.HuggingFaceVision
      init_args:
        pretrained: {folder}/vit
data:
  class_path: datamodules.EarthDataModule
  init_args:
    manifest: {folder}/chips/chips.parquet
    sensor: sentinel2
    add_offset: 0
    batch_size: 16
    num_workers: 0
trainer:
  max_epochs: 5
  accelerator: cpu
  devices: 1
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
"""


def save_vit(folder: Path) -> None:
    """A tiny ViT for pictures of 8 × 8 pixels."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, image_size=8, patch_size=4
    )
    ViTModel(config, add_pooling_layer=False).save_pretrained(folder / "vit")


def make_mapped_run(folder: Path) -> Path:
    """Chips, model and run in a folder; returns that of the run."""
    write_raster(folder / "scene.tif", scene_values(), nodata=0)
    thirds = [box_polygon(100 * k, 0, 100, 200) for k in range(3)]
    write_polygons(folder / "p.geojson", thirds, [{"landcover": name} for name in ("water", "forest", "bare")])
    cut = ["chips", "--scene", str(folder / "scene.tif"), "--labels", str(folder / "p.geojson"), "--size=20"]
    main([*cut, "--output", str(folder / "chips"), "--block_km=0.4"])
    save_vit(folder)
    recipe = folder / "mine.yaml"
    recipe.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    main(["--recipe", str(recipe), f"--run_folder={folder / 'run'}", "--report.export=false"])
    return folder / "run"
