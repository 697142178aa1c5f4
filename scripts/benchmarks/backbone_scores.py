"""How well scores of frozen features forecast full fine-tuning: weighted Kendall tau of each with test accuracy.

    python scripts/benchmarks/backbone_scores.py --folder scores            # an hour or two on two cores
    python scripts/benchmarks/backbone_scores.py --folder scores --quick    # a minute or two; the figures mean nothing

On land cover and reviews, with candidates that need no download: the shipped models, the first blocks of them, their
weights shuffled within each tensor, fresh weights and, for images, ImageNet's EfficientNet-Lite0. Scores are those of
`lightning-tl backbones`. Each candidate is then fine-tuned as the recipe says, at several rates of the backbone, of
which validation chooses one, and tested once for each seed. Weighted tau (Vigna 2015) counts what is right at the top
of the order for more; 1 is the same order, 0 none. With so few candidates it is uncertain by some tenths.

Finished trainings are kept in FOLDER/trained.jsonl, so that an interrupted measurement goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from kept_runs import kept_run
from scipy.stats import weightedtau
from transformers import AutoModel

from lightning_tl.backbones.opening.weights_resolver import DEFAULT_MODEL, DEFAULT_TEXT_MODEL, resolve_weights
from lightning_tl.cli import main
from lightning_tl.cli.run_folder import RUN_FOLDER

SCORES = ("probe", "neighbours", "log_me")
RECIPES = {
    "land cover": ("satellite_linear_probe", "satellite_fine_tune", DEFAULT_MODEL, (2, 4), (3e-4, 1e-3, 3e-3)),
    "reviews": ("text_linear_probe", "text_fine_tune", DEFAULT_TEXT_MODEL, (1, 3), (3e-5, 1e-4, 3e-4)),
}


def changed_model(name: str, folder: Path, blocks: int | None = None, shuffled: bool = False) -> str:
    """A copy of a model, with its first blocks alone or its weights shuffled within each tensor."""
    source = resolve_weights(name)
    made = folder / f"{source.name}-{'shuffled' if shuffled else f'{blocks}-blocks'}"
    if made.exists():
        return str(made)
    made.parent.mkdir(parents=True, exist_ok=True)
    partial = shutil.copytree(source, made.with_name(f".{made.name}"), dirs_exist_ok=True)
    fewer = {} if blocks is None else {"num_hidden_layers": blocks}
    model: Any = AutoModel.from_pretrained(source, add_pooling_layer=False, **fewer)
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters() if shuffled else ():
        order = torch.randperm(parameter.numel(), generator=generator)
        parameter.data = parameter.data.flatten()[order].view_as(parameter)
    for file in partial.glob("*.safetensors"):
        file.unlink()
    model.save_pretrained(partial)
    partial.rename(made)
    return str(made)


def candidates(data: str, folder: Path, quick: bool) -> list[str]:
    """What `--candidates` takes."""
    _, _, name, blocks, _ = RECIPES[data]
    found = [name, f"{name},weights=false"]
    if quick:
        return found
    found += [changed_model(name, folder, blocks=number) for number in blocks]
    found.append(changed_model(name, folder, shuffled=True))
    if data == "land cover":
        found += ["efficientnet-lite0,image_size=64", "efficientnet-lite0,image_size=64,weights=false"]
    return found


def scored(data: str, folder: Path, names: Sequence[str], fields: Sequence[str]) -> list[dict[str, Any]]:
    """What `lightning-tl backbones` says of each candidate."""
    output = folder / f"{data.replace(' ', '_')}.json"
    kept = [f"--output={output}", f"--features={folder / 'features'}", "--offline"]
    main(["backbones", f"--recipe={RECIPES[data][0]}", "--candidates", *names, *kept, *fields])
    ranked: list[dict[str, Any]] = json.loads(output.read_text())["ranked"]
    return ranked


def trained(data: str, candidate: dict[str, Any], seed: int, rate: float, fields: Sequence[str]) -> dict[str, float]:
    """Validation and test accuracy of full fine-tuning; the run folder is not kept."""
    run = Path("run").resolve()
    shutil.rmtree(run, ignore_errors=True)
    os.environ.pop(RUN_FOLDER, None)
    few = [f"--run_folder={run}", f"--seed_everything={seed}", f"--model.backbone_lr={rate}", "--report.export=false"]
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    main(["fit", f"--recipe={RECIPES[data][1]}", *candidate["arguments"], *few, *quiet, *fields])
    test = json.loads((run / "summary.json").read_text())["test"]["accuracy"]
    validation = pd.read_csv(run / "metrics.csv")["val_accuracy"].max()
    shutil.rmtree(run)
    return {"validation": float(validation), "test": float(test)}


def accuracy(
    data: str, folder: Path, candidate: dict[str, Any], seeds: int, quick: bool, fields: Sequence[str]
) -> float:
    """Mean test accuracy over seeds at the rate that validation chose."""
    rates = RECIPES[data][4][1:2] if quick else RECIPES[data][4]
    runs = {
        (rate, seed): kept_run(
            folder / "trained.jsonl",
            {"data": data, "candidate": candidate["candidate"], "rate": rate, "seed": seed, "fields": list(fields)},
            lambda rate=rate, seed=seed: trained(data, candidate, seed, rate, fields),  # type: ignore[misc]
        )
        for rate in rates
        for seed in range(seeds)
    }
    best = max(rates, key=lambda rate: np.mean([runs[rate, seed]["validation"] for seed in range(seeds)]))
    return float(np.mean([runs[best, seed]["test"] for seed in range(seeds)]))


def measure(data: str, folder: Path, seeds: int, quick: bool, labels: int | None) -> None:
    """Print candidates with scores and accuracy, then tau of each score."""
    labels = 10 if quick else labels
    small = [] if labels is None else [f"--data.labels_per_class={labels}"]
    short = ["--trainer.max_epochs=1", "--trainer.limit_test_batches=2"] if quick else []
    places = scored(data, folder, candidates(data, folder / "models", quick), small)
    found = [accuracy(data, folder, place, seeds, quick, [*small, *short]) for place in places]
    print(f"\n{data}: accuracy of full fine-tuning, and scores of frozen features")
    for place, value in zip(places, found, strict=True):
        told = "  ".join(f"{name} {place[name]:.3f}" for name in SCORES)
        print(f"  {value:.3f}  {told}  {place['candidate']}")
    for name in SCORES:
        tau = weightedtau([place[name] for place in places], found).statistic
        print(f"  weighted tau of {name}: {tau:.2f} over {len(places)} candidates")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="for features, changed models and finished runs")
    parser.add_argument("--data", choices=list(RECIPES), nargs="+", default=list(RECIPES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--labels", type=int, help="a class, in training and validation; default all")
    parser.add_argument("--quick", action="store_true", help="two candidates, few labels, one epoch, one rate and seed")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    for which in options.data:
        measure(which, options.folder.resolve(), 1 if options.quick else options.seeds, options.quick, options.labels)
