"""What text and vision encoders of Hugging Face share."""

from __future__ import annotations

import re
from typing import Any

from lightning_tl.backbones.base import Backbone
from lightning_tl.backbones.hugging_face.hugging_face_loading import new_encoder
from lightning_tl.backbones.hugging_face.lists_of_blocks import numbers_by_parallel_lists
from lightning_tl.backbones.ordered_groups import (
    blocks_by_structure,
    by_call,
    numbers_by_block,
    ordered_groups,
    tensor_names,
)
from lightning_tl.contracts.layer_groups import LayerGroup


class HuggingFaceBackbone(Backbone):
    """Base: an encoder without a head in `model`, whose blocks are found by their names, else by its structure.

    Attributes:
        model: what `transformers.AutoModel` opened.
        block: matches a block's name at the start of the names of its tensors, as its first group. A subclass for a
            model built otherwise changes it.
        shared: matches tensors that every block reads although they are registered after the blocks: they go with the
            input.
        called: names of the model's modules in the order of their calls, where that is known.
    """

    model: Any
    block: re.Pattern[str]
    shared: re.Pattern[str] | None = None
    called: tuple[str, ...] = ()

    def layer_groups(self) -> list[LayerGroup]:
        """`embeddings` and one group per block.

        What lies between two blocks (a downsampling) goes with the one that follows, the final norm with the last.

        Raises:
            ValueError: no blocks were found.
        """
        names = tensor_names(self.model)
        numbers = numbers_by_block(names, self.block)
        if not any(numbers.values()) and not self.called:
            numbers = numbers_by_parallel_lists(self.model, names)
        if not any(numbers.values()) and (blocks := blocks_by_structure(self.model)):
            block = re.compile("(" + "|".join(map(re.escape, blocks)) + r")\.")
            numbers = numbers_by_block(by_call(names, self.called), block)
        if not any(numbers.values()):
            raise ValueError(
                f"no blocks found in {type(self.model).__name__}; subclass {type(self).__name__} and set `block` "
                "to a pattern whose first group is a block's name"
            )
        if self.shared is not None:
            numbers = {name: 0 if self.shared.search(name) else number for name, number in numbers.items()}
        return ordered_groups(self.model, numbers, prefix="model.")

    def reinitialise(self) -> None:
        """See `Backbone`."""
        self.model.load_state_dict(new_encoder(self.model.config).state_dict())
