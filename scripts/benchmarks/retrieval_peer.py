"""sentence-transformers' side of `retrieval_speed.py`: its Trainer and `MultipleNegativesRankingLoss` on our towers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.modules import Module, Router
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor, nn
from torch.utils.data import BatchSampler

from lightning_tl.contracts.batches import RetrievalBatch
from lightning_tl.contracts.interactions import NO_ITEM
from lightning_tl.retrieval import TextHistory, TwoTower

Step = Callable[[Tensor, Tensor], None]  # takes the events [queries] of a step that is over, and its loss


class Projection(Module):  # type: ignore[misc, unused-ignore]
    """A tower's projection after its encoder: "sentence_embedding" [texts, width] becomes [texts, dim].

    Args:
        layers: the tower's own.
        mean: [width], taken away first.
        spread: of one number or [width], by which is divided then.
    """

    def __init__(self, layers: nn.Module, mean: Tensor, spread: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.layers = layers
        self.register_buffer("mean", mean.clone())
        self.register_buffer("spread", spread.clone())

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        found = (features["sentence_embedding"] - self.mean) / self.spread
        return {**features, "sentence_embedding": self.layers(found)}

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        self.save_torch_weights(output_path)


class Storeless(Module):  # type: ignore[misc, unused-ignore]
    """Both towers over a frozen encoder that reads the texts of each batch anew, every different text once.

    Args:
        module: whose projection and user tower are trained.
        encoder: what `SentenceTransformer` opens.
        texts: [items].
        given: take the features of items in histories for free from `module`, and encode the targets alone.
    """

    def __init__(self, module: TwoTower, encoder: SentenceTransformer, texts: Sequence[str], given: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.encoder, self.texts, self.given = encoder.requires_grad_(False), texts, given
        self.users = module.users
        self.item = Projection(module.items.projection, module.items.mean, module.items.spread)
        self.register_buffer("profiles", module.profiles, persistent=False)
        self.register_buffer("table", module.items.content, persistent=False)

    def forward(self, features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Adds "sentence_embedding" of the targets and "user_embedding", both [queries, dim]."""
        target, history = features["input_ids"], features["history"]
        past = history != NO_ITEM
        numbers, place = torch.unique(torch.cat([target, history[past]]), return_inverse=True)
        wanted = torch.unique(target) if self.given else numbers
        found = self.table[numbers]
        found[torch.searchsorted(numbers, wanted)] = self.encode(wanted)
        vectors = self.item({"sentence_embedding": found})["sentence_embedding"]
        rows = vectors.new_zeros(*past.shape, vectors.shape[1])
        rows = rows.masked_scatter(past[..., None], vectors[place[len(target) :]])
        profile = self.profiles[features["user"]]
        asking = self.users(history, rows, profile, torch.arange(len(target)), features["position"])
        return {**features, "user_embedding": asking, "sentence_embedding": vectors[place[: len(target)]]}

    def encode(self, numbers: Tensor) -> Tensor:
        """Features of the items' texts, [numbers, width], without gradients."""
        texts = [self.texts[number] for number in numbers.tolist()]
        found: Tensor = self.encoder.encode(texts, convert_to_tensor=True, show_progress_bar=False)
        return found.clone()  # made in inference mode, which no gradient may pass

    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        self.save_torch_weights(output_path)


class PairLoss(MultipleNegativesRankingLoss):  # type: ignore[misc, unused-ignore]
    """For a model that gives users and items in one pass."""

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        (features,) = sentence_features
        found = self.model(features)
        both = [found["user_embedding"], found["sentence_embedding"]]
        return self.compute_loss_from_embeddings(both, labels)  # type: ignore[no-any-return, unused-ignore]


class Replay(BatchSampler):
    """The rows of a table in their order, in batches of given sizes."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes, self.batch_size, self.drop_last = sizes, max(sizes), False

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        return (list(range(end - size, end)) for size, end in zip(self.sizes, np.cumsum(self.sizes), strict=True))


class WatchedTrainer(SentenceTransformerTrainer):  # type: ignore[misc, unused-ignore]
    """Takes batches as they are given, and remembers what the last step saw."""

    sizes: list[int]
    seen: tuple[Tensor, Tensor]

    def get_batch_sampler(self, dataset: Any, *args: Any, **kwargs: Any) -> BatchSampler:
        return Replay(self.sizes)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        events = inputs["label"]
        loss: Any = super().compute_loss(model, inputs, *args, **kwargs)
        self.seen = events, loss.detach()
        return loss


class Watch(transformers.TrainerCallback):
    """Tells when training begins, and of each step."""

    def __init__(self, begin: Callable[[], None], step: Step) -> None:
        self.begin, self.step = begin, step
        self.trainer: WatchedTrainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step(*self.trainer.seen)


def text_model(module: TwoTower, folder: Path, device: str) -> SentenceTransformer:
    """Both encoders, each with its pooling and projection, as routes of one model."""
    width = module.users.encoder.feature_dim  # type: ignore[union-attr]
    parts = (
        ("user", module.users, torch.zeros(width), torch.ones(())),
        ("item", module.items, module.items.mean, module.items.spread),
    )
    routes = {}
    for name, tower, mean, spread in parts:
        assert tower.encoder is not None
        tower.encoder.save(folder / name)
        encoder = SentenceTransformer(str(folder / name), device=device)
        routes[name] = [*encoder, Projection(tower.projection, mean, spread)]  # type: ignore[arg-type]
    return SentenceTransformer(modules=[Router(routes)], device=device)


def text_rows(module: TwoTower, texts: Sequence[str], batches: list[RetrievalBatch]) -> dict[str, list[Any]]:
    """Columns of queries: the history's text, the item's text, and the event."""
    rows: dict[str, list[Any]] = {"user": [], "item": [], "label": []}
    assert isinstance(module.users, TextHistory)
    for batch in batches:
        rows["user"] += module.users.texts(batch["history"], batch["row"], batch["position"])
        rows["item"] += [texts[target] for target in batch["target"].tolist()]
        rows["label"] += batch["index"].tolist()
    return rows


def number_rows(batches: list[RetrievalBatch]) -> dict[str, list[Any]]:
    """Columns of queries: the history's items before the query, who asks, the item, and the event."""
    rows: dict[str, list[Any]] = {name: [] for name in ("history", "position", "user", "target", "label")}
    for batch in batches:
        row, position = batch["row"], batch["position"]
        later = torch.arange(batch["history"].shape[1]) >= position[:, None]
        rows["history"] += batch["history"][row].masked_fill(later, NO_ITEM).tolist()
        rows["user"] += batch["user"][row].tolist()
        for name, column in (("position", position), ("target", batch["target"]), ("label", batch["index"])):
            rows[name] += column.tolist()
    return rows


class Collator:
    """Makes of rows of `number_rows` the one input of `Storeless`, histories cut to the longest."""

    valid_label_columns = ("label",)

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        columns = {name: torch.from_numpy(np.array([row[name] for row in rows])) for name in rows[0]}
        event, longest = columns.pop("label"), int(columns["position"].max())
        columns["input_ids"], columns["history"] = columns.pop("target"), columns["history"][:, :longest]
        return {"label": event, **{f"query_{name}": value for name, value in columns.items()}}


def train_peer(
    module: TwoTower,
    texts: Sequence[str],
    batches: list[RetrievalBatch],
    begin: Callable[[], None],
    step: Step,
    *,
    lr: float,
    weight_decay: float,
    log_every: int,
    given: bool = False,
    dropout: bool = True,
    **hardware: bool,
) -> None:
    """Train the towers of a module on these batches, one step each.

    Args:
        module: built, with the features of the catalogue.
        texts: [items].
        begin: called before the first step.
        given: see `Storeless`.
        dropout: False puts that of all modules to 0.
        **hardware: `use_cpu` and `bf16` of the peer's training arguments.
    """
    watch, device = Watch(begin, step), "cpu" if hardware["use_cpu"] else "cuda"
    options: dict[str, Any] = {"learning_rate": lr, "weight_decay": weight_decay, "lr_scheduler_type": "constant"}
    options |= {"max_grad_norm": 0.0, "max_steps": len(batches), "per_device_train_batch_size": 1, **hardware}
    options |= {"logging_steps": log_every, "save_strategy": "no", "report_to": [], "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as name:
        if isinstance(module.users, TextHistory):
            collator: Any = None
            model, rows = text_model(module, Path(name), device), text_rows(module, texts, batches)
            loss = MultipleNegativesRankingLoss(model)
            options["router_mapping"] = {"user": "user", "item": "item"}
        else:
            assert module.items.encoder is not None
            module.items.encoder.save(Path(name) / "item")
            encoder = SentenceTransformer(str(Path(name) / "item"), device=device)
            model = SentenceTransformer(modules=[Storeless(module, encoder, texts, given)], device=device)
            rows, collator, loss = number_rows(batches), Collator(), PairLoss(model)
        for part in model.modules():
            if isinstance(part, nn.Dropout) and not dropout:
                part.p = 0.0
        arguments = SentenceTransformerTrainingArguments(name, **options)
        data = Dataset.from_dict(rows)
        trainer = WatchedTrainer(model, arguments, data, loss=loss, data_collator=collator, callbacks=[watch])
        trainer.sizes, watch.trainer = [len(batch["target"]) for batch in batches], trainer
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
