"""`TwoTower`: a tower for users and one for items, trained to meet."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import AdamW

from lightning_tl.adaptation import Frozen
from lightning_tl.compat.for_torch import leave_out_of_ddp
from lightning_tl.contracts.batches import RetrievalBatch
from lightning_tl.contracts.interactions import NO_ITEM
from lightning_tl.contracts.layer_groups import HEAD, LayerGroup, by_depth
from lightning_tl.losses import InfoNCE
from lightning_tl.metrics.ranks import retrieval_metrics
from lightning_tl.retrieval.negatives.batch_loss import BatchLoss
from lightning_tl.retrieval.negatives.nearest_negatives import NearestNegatives
from lightning_tl.retrieval.ranking.full_ranking import FullRanking
from lightning_tl.retrieval.retrieval_data import DrawnItems, RetrievalData
from lightning_tl.retrieval.towers.history_transformer import HistoryTransformer
from lightning_tl.retrieval.towers.item_tower import ItemTower
from lightning_tl.retrieval.towers.named_rows import NamedRows
from lightning_tl.retrieval.towers.user_tower import UserTower
from lightning_tl.training.parameter_groups import check_rates
from lightning_tl.training.schedules import Schedule
from lightning_tl.training.trained_module import OptimizerFactory, TrainedModule
from lightning_tl.training.training_groups import Tower

_ITEMS_AT_ONCE = 65_536  # whose vectors are computed together


class TwoTower(TrainedModule):
    """Users and items as unit vectors whose cosine says what a user takes next, for search over a whole catalogue.

    A query must find its item among the items of the batch (of all processes), items drawn with equal chances, and
    items that the user saw and did not take; and an item its user among the users of the batch. Items that a user
    took at any time of the training window are no negatives of that user, and items that nobody took in it are no
    negatives of anybody: their time may be still to come.

    Validation and test rank the target among all items, never a sample, after leaving out those of the query's
    history.

    Args:
        items: the item tower.
        users: the user tower.
        loss: what a row pays for its candidates.
        item_to_user: share of the loss of items that must find their users, in [0, 1].
        mining: negatives that the model finds itself, besides the others; None for none.
        log_q: correct for how often candidates are drawn; counts are those of the training window.
        mask_taken: leave out candidates that the row's user took too.
        lr: learning rate of everything outside the encoders.
        layer_decay: each group's rate is this times the rate of the group after it, in (0, 1].
        weight_decay: not applied to biases, norms and the temperature.
        schedule: how all rates move together.
        optimizer: builds the optimizer from parameter groups.
    """

    report: ClassVar[str] = "retrieval_report"
    next_command: ClassVar[str] = "recommend --run {run} --user ID"
    can_predict: ClassVar[bool] = False
    profiles: Tensor  # [users, fields]

    def __init__(
        self,
        items: ItemTower,
        users: UserTower | None = None,
        loss: InfoNCE | None = None,
        item_to_user: float = 0.5,
        mining: NearestNegatives | None = None,
        log_q: bool = True,
        mask_taken: bool = True,
        lr: float = 1e-3,
        layer_decay: float = 1.0,
        weight_decay: float = 0.01,
        schedule: Schedule | None = None,
        optimizer: OptimizerFactory = AdamW,
    ) -> None:
        super().__init__(lr, layer_decay, weight_decay, schedule, optimizer)
        if not 0 <= item_to_user <= 1:
            raise ValueError(f"item_to_user must be in [0, 1], got {item_to_user}")
        self.items, self.users, self.loss = items, users or HistoryTransformer(), loss or InfoNCE()
        for tower in (self.items, self.users):
            check_rates(lr, tower.encoder_lr, layer_decay, weight_decay)
        self.item_to_user, self.mining, self.log_q, self.mask_taken = item_to_user, mining, log_q, mask_taken
        self.metrics = torch.nn.ModuleDict({stage: retrieval_metrics(f"{stage}_") for stage in ("val", "test")})
        self.ranking = FullRanking()

    # ---------------------------------------------------------------- building

    @property
    def data(self) -> RetrievalData:
        """The Trainer's data module.

        Raises:
            ValueError: it serves no event log.
        """
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, RetrievalData):
            raise ValueError(
                f"TwoTower needs a data module that serves an event log, such as datamodules.InteractionDataModule; "
                f"got {type(data).__name__}"
            )
        return data

    def configure_model(self) -> None:
        """Build the towers for the catalogue.

        Raises:
            ValueError: weights would not be kept in float32.
        """
        if torch.get_default_dtype() != torch.float32:
            raise ValueError(
                f"TwoTower keeps its weights in float32, got trainer.precision={self.trainer.precision}; "
                "take 32-true, or bf16-mixed or 16-mixed to compute in half precision"
            )
        if not self.is_built:
            self.build(self.data)
            buffers = [name for name, _ in self.named_buffers()]  # each process makes the same: DDP need not send them
            leave_out_of_ddp(self, buffers)

    def build(self, data: RetrievalData) -> None:
        """Make everything that depends on the data; a Trainer calls it by itself."""
        log = data.training_log
        self.item_count = len(log.item_ids)
        self.items.build(data.item_texts, log.item_counts(), data.item_pictures)
        self.users.build(self.items.dim, data)
        rules = self.item_to_user, self.log_q, self.mask_taken
        chances = data.training_chances if isinstance(data, DrawnItems) else None
        self.batch_loss = BatchLoss(self.loss, *rules, log, chances)
        self.rows = NamedRows(self.items, data)
        self.register_buffer("profiles", torch.from_numpy(data.profiles), persistent=False)
        self.begin_training_rules()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the names of the tables' rows."""
        super().on_save_checkpoint(checkpoint)
        self.rows.save(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Find the rows of the tables again by their names.

        Raises:
            ValueError: the data has none of the model's items, or lacks a profile field.
        """
        self.rows.check_texts(checkpoint, self.items)
        super().on_load_checkpoint(checkpoint)
        self.rows.load(checkpoint, goes_on=self._trainer is not None and self._trainer.state.fn == "fit")
        self.rows.lead_items(self.items)
        self.profiles = self.rows.lead_profiles(self.modules(), self.profiles)

    def towers(self) -> list[Tower]:
        """The towers that have an encoder, with its adaptation."""
        found = [
            Tower(f"{name}.encoder", tower.encoder, tower.adaptation, tower.encoder_lr, name)
            for name, tower in (("items", self.items), ("users", self.users))
            if tower.encoder is not None
        ]
        seen = self.items.picture_encoder
        return found if seen is None else [*found, Tower("items.picture_encoder", seen, Frozen(), None, "pictures")]

    def layer_groups(self) -> list[LayerGroup]:
        """The encoders' groups, those at the same distance from the output side by side, then `head` with the rest."""
        groups = by_depth([tower.layer_groups() for tower in self.towers()])
        inside = {name for group in groups for name in group.parameter_names}
        rest = frozenset(name for name, _ in self.named_parameters()) - inside
        sides = (self.items, self.users)
        own = [child for side in sides for name, child in side.named_children() if not name.endswith("encoder")]
        return [*groups, LayerGroup(HEAD, rest, tuple(own))]

    # ---------------------------------------------------------------- embedding

    def on_fit_start(self) -> None:
        """Encode the catalogue."""
        super().on_fit_start()
        self.refresh_content()

    def on_train_epoch_start(self) -> None:
        """Encode the catalogue again where the encoder has changed."""
        self.refresh_content(if_changed=True)  # by an epoch without validation, or weights that were brought back

    def refresh_content(self, if_changed: bool = False) -> None:
        """Encode the whole catalogue with the encoders as they are now, each process its share; see `ItemTower`."""
        with self.trainer.precision_plugin.forward_context():
            self.items.refresh(self.global_rank, self.trainer.world_size, if_changed)

    def embed_queries(self, batch: RetrievalBatch, vectors: Tensor) -> Tensor:
        """[queries, dim], unit norm.

        Args:
            batch: the queries, and the rows that hold their histories.
            vectors: [rows, length, dim] of the histories' items.
        """
        profile = self.profiles[batch["user"]]
        found = self.users(batch["history"], vectors, profile, batch["row"], batch["position"])
        return F.normalize(found.float(), dim=-1)

    @torch.no_grad()
    def item_vectors(self) -> Tensor:
        """The whole catalogue, before vectors are scaled to length 1: [items, dim]."""
        numbers = torch.arange(self.item_count, device=self.device)
        return torch.cat([self.items(part) for part in torch.split(numbers, _ITEMS_AT_ONCE)])

    # ---------------------------------------------------------------- training

    def step(self, batch: RetrievalBatch, with_bound: bool = False) -> tuple[Tensor, Tensor | None]:
        """The loss of a batch, and where wanted the bound on mutual information."""
        history, target = batch["history"], batch["target"]
        none = target.new_zeros(0)
        parts = [target, batch.get("uniform", none), batch.get("hard", none)]
        sizes = [len(part) for part in parts]
        past = (history != NO_ITEM) & self.users.reads_items
        numbers, place = torch.unique(torch.cat([*parts, history[past]]), return_inverse=True)
        live = None
        if self.items.is_live:
            live = torch.zeros(len(numbers), dtype=torch.bool, device=numbers.device)
            live[place[: sum(sizes)]] = True
        found = self.items(numbers, live)
        read = found.new_zeros(*past.shape, found.shape[-1])  # [rows, length, dim], zeros where there is no item
        read = read.masked_scatter(past[..., None], found[place[sum(sizes) :]])
        users = self.embed_queries(batch, read)
        vectors = torch.split(F.normalize(found[place[: sum(sizes)]].float(), dim=-1), sizes)
        items, uniform, given = zip(parts, vectors, strict=True)
        asking = batch["user"][batch["row"]]
        if self.mining is not None:
            mined = self.mining.draw(
                users.detach(), target, asking, self.batch_loss.taken, self.global_rank, self.trainer.world_size
            )
            near = self.items(mined, torch.ones_like(mined, dtype=torch.bool) if self.items.is_live else None)
            given = torch.cat([given[0], mined]), torch.cat([given[1], F.normalize(near.float(), dim=-1)])
        ranks = self.trainer.world_size
        loss: tuple[Tensor, Tensor | None] = self.batch_loss(
            (asking, users), items, uniform, given, batch.get("weight"), self.global_rank, ranks, with_bound
        )
        return loss

    def on_train_batch_start(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Mine hard negatives anew where it is time to."""
        if self.mining is not None and self.mining.is_due(self.global_step, batch_idx == 0):
            self.eval()
            self.refresh_content(if_changed=True)
            vectors = F.normalize(self.item_vectors().float(), dim=-1)
            self.mining.refresh(vectors, self.global_step, self.batch_loss.item_share > 0)
            self.train()

    def training_step(self, batch: RetrievalBatch, batch_idx: int) -> Tensor:
        """One batch's loss, logged with what bounds it."""
        loss, bound = self.step(batch, self.logs_now)
        self.log_training(loss, batch)
        if bound is not None:
            self.log_dict({"information_bound": bound, "temperature": self.loss.temperature}, on_step=True)
        return loss

    # ---------------------------------------------------------------- evaluation: over the whole catalogue

    def on_validation_epoch_start(self) -> None:
        """Encode the catalogue, for ranking.

        Raises:
            ValueError: the window begins before the end of the model's training.
        """
        if self.trainer.state.fn != "fit":
            self.rows.check_is_later(self.data, "test" if self.trainer.testing else "validation")
        self.refresh_content(if_changed=True)
        self._vectors = self.item_vectors()
        self.ranking.begin()

    on_test_epoch_start = on_validation_epoch_start

    def query_vectors(self, batch: RetrievalBatch) -> Tensor:
        """[queries, dim], unit norm, after histories of items as they were when the evaluation began."""
        return self.embed_queries(batch, self._vectors[batch["history"].clamp(min=0)])

    def validation_step(self, batch: RetrievalBatch, batch_idx: int) -> None:
        """Add a batch of queries to what is ranked."""
        self.ranking.add(batch["index"], self.query_vectors(batch))

    test_step = validation_step

    def on_validation_epoch_end(self) -> None:
        """Rank the validation window."""
        self._rank("val", "validation")
        super().on_validation_epoch_end()

    def on_test_epoch_end(self) -> None:
        """Rank the test window."""
        self._rank("test", "test")

    def _rank(self, stage: str, split: str) -> None:
        found = self.ranking.finish(self.data.queries(split), self._vectors)
        metrics: Any = self.metrics[stage]
        metrics.update(torch.from_numpy(found).to(self.device))
        self.log_dict(dict(metrics.items(keep_base=False)), prog_bar=True, batch_size=max(1, len(found)))
