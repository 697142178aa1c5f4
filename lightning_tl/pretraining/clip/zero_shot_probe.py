"""`ZeroShotProbe`: how many labelled images are nearest to the description of their class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_tl.contracts.conditions import Conditions
from lightning_tl.contracts.data import CacheableData, ClassificationData
from lightning_tl.training.gather_rows import summed


class ZeroShotProbe:
    """Labelled images that are told apart by what their classes are called, while a model trains on captions.

    A class's vector is the mean of its description in every template (Radford et al. 2021, section 3.1.4). Training
    never sees these images: validation is scored on their validation split, a test on their test split.

    Args:
        data: labelled images, such as `datamodules.ImageFolderDataModule`.
        descriptions: what a class is, in words, by the class's name; default the name itself.
        templates: sentences around a description, each with `{}` where it goes.
    """

    def __init__(
        self,
        data: pl.LightningDataModule,
        descriptions: Mapping[str, str] | None = None,
        templates: Sequence[str] = ("a photo of {}",),
    ) -> None:
        if isinstance(templates, str) or not templates or not all(template.count("{}") == 1 for template in templates):
            raise ValueError(f"every template must have one {{}} where the description goes, got {list(templates)}")
        if not isinstance(data, CacheableData):
            raise ValueError(f"ZeroShotProbe needs a data module of labelled images, got {type(data).__name__}")
        self.data: Any = data
        self.descriptions, self.templates = dict(descriptions or {}), tuple(templates)
        self._ready = False

    def prepare(self, conditions: Conditions) -> None:
        """Read the labelled images for the model that is to be probed.

        Raises:
            ValueError: the data have no classes, or descriptions are of others.
        """
        self.data.serve(conditions)
        if not self._ready:
            self.data.prepare_data()
            self.data.setup("fit")
            self._ready = True
        names = self.data.class_names if isinstance(self.data, ClassificationData) else ()
        if strangers := sorted(set(self.descriptions) - set(names)):
            raise ValueError(
                f"descriptions of classes that the data has not: {', '.join(strangers)}; it has {', '.join(names[:10])}"
            )

    def wordings(self) -> list[str]:
        """Every class's description in every template, class by class: [classes * templates]."""
        described = [self.descriptions.get(name, name) for name in self.data.class_names]
        return [template.replace("{}", words) for words in described for template in self.templates]

    @torch.no_grad()
    def accuracy(
        self,
        embed_texts: Callable[[Sequence[str]], Tensor],
        embed_images: Callable[[Tensor], Tensor],
        split: str,
        rank: int = 0,
        ranks: int = 1,
    ) -> tuple[float, int]:
        """Share of a split's images that are nearest to their own class, and how many there are.

        Args:
            embed_texts: texts to [texts, dim], unit norm.
            embed_images: images [batch, channels, height, width] to [batch, dim], unit norm.
            split: "validation" or "test".
            rank: number of this process.
            ranks: number of processes.
        """
        words = embed_texts(self.wordings())
        vectors = F.normalize(words.view(-1, len(self.templates), words.shape[1]).mean(1), dim=1)  # [classes, dim]
        counts = torch.zeros(2, dtype=torch.int64, device=words.device)
        for batch in self.data.cache_loader(split, 0, rank, ranks):
            nearest = (embed_images(batch["inputs"].to(words.device)) @ vectors.T).argmax(1)
            right = (nearest == batch["target"].to(words.device)).sum()
            counts += torch.stack([right, torch.tensor(len(nearest), device=words.device)])
        hits, total = summed(counts, ranks).tolist()
        return hits / max(1, total), total
