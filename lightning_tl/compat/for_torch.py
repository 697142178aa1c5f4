"""What torch keeps to itself; seen in torch 2.15.0."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn
    from torch.utils.data import DataLoader


def leaves(tree: Any) -> list[Any]:
    """What nested dicts, lists, tuples and registered classes hold, in their order.

    `torch.utils._pytree`: transformers registers its outputs there, and torch has no public module of it.
    """
    from torch.utils._pytree import tree_leaves

    return tree_leaves(tree)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether a layer is a BatchNorm of any kind.

    `_BatchNorm` is the one base of all, those of other libraries included; torch has no public name for it.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    return isinstance(module, _BatchNorm)


def inside_compiled(value: Any) -> Any:
    """The module that `torch.compile` has wrapped; None where it has wrapped none.

    `_orig_mod`: the class of the wrapper is private, too, and there is no public way back.
    """
    return getattr(value, "_orig_mod", None)


def compile_as(module: nn.Module, wrapper: Any) -> None:
    """Compile a module in place as `wrapper`, made of it by `torch.compile`, is.

    As `nn.Module.compile` does by `_compiled_call_impl` and `_call_impl`; called itself it would need the arguments of
    `torch.compile`, which the wrapper does not keep.
    """
    module._compiled_call_impl = wrapper.dynamo_ctx(module._call_impl)


def has_forward_pre_hooks(module: nn.Module) -> bool:
    """Whether anybody waits for the inputs of a module.

    `_forward_pre_hooks`: hooks can be registered and removed publicly, but not seen.
    """
    return len(module._forward_pre_hooks) > 0


def leave_out_of_ddp(module: nn.Module, names: Collection[str]) -> None:
    """Let DistributedDataParallel neither send these parameters and buffers of a module nor wait for them.

    `_set_params_and_buffers_to_ignore_for_model`: torch's documentation of DDP names no public way, and its constructor
    belongs to Lightning.
    """
    from torch.nn.parallel import DistributedDataParallel

    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, list(names))  # type: ignore[no-untyped-call]


def end_workers(reader: DataLoader[Any], owner: bool) -> None:
    """End the reading processes of a loader at once; nothing where none were started, or there are none.

    `_iterator` with its `_shutdown_workers` and `_shutdown`: a loader with persistent workers has no `close`.

    Args:
        reader: whose processes end.
        owner: False in a forked copy of the process that started them: it only notes that they are no longer its.
    """
    iterator: Any = reader._iterator
    if iterator is None or not hasattr(iterator, "_shutdown_workers"):
        return
    if owner:
        iterator._shutdown_workers()
    else:
        iterator._shutdown = True
