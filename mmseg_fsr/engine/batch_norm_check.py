"""Batch norms that would get one value per channel, of which there is no variance."""

from functools import partial

from mmengine.dataset import InfiniteSampler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader
from torch.utils.hooks import RemovableHandle


def smallest_batch(loader: DataLoader) -> int:
    """Number of images in the smallest batch that a data loader gives a process."""
    size = loader.batch_size
    if isinstance(loader.sampler, InfiniteSampler) or loader.drop_last:
        return size
    return len(loader.sampler) % size or size


def refuse_single_values(
    model: nn.Module, loader: DataLoader, world_size: int
) -> list[RemovableHandle]:
    """Has batch norms check the next batches, if one of a single image will come.

    The map of a pooled branch, such as that of ``ASPPHead`` or ``UPerHead``, has one
    value per channel and image. torch's error about it names no layer.

    Args:
        model: The model that will pass batches in training.
        loader: The data loader of its batches.
        world_size: Number of processes, over whose images a SyncBN normalises.

    Returns:
        What to remove when a batch has passed; nothing if no batch is that small.
    """
    # A sampler of whole batches leaves no batch size.
    if loader.batch_size is None or smallest_batch(loader) > 1:
        return []
    return [
        layer.register_forward_pre_hook(
            partial(
                _check,
                batch_size=loader.batch_size,
                message=_message(model, name, loader.batch_size, world_size),
            )
        )
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm)
        and not (isinstance(layer, nn.SyncBatchNorm) and world_size > 1)
    ]


def _check(
    layer: nn.Module, inputs: tuple[Tensor, ...], *, batch_size: int, message: str
) -> None:
    """Refuses an input (N, C, ...) that has one value per channel and image."""
    values = inputs[0].numel() // inputs[0].shape[1]
    if layer.training and values <= batch_size:
        raise ValueError(message)


def _message(model: nn.Module, name: str, batch_size: int, world_size: int) -> str:
    part = name.partition(".")[0]
    kind = type(getattr(model, part)).__name__
    if batch_size == 1:
        cause = "train_dataloader.batch_size=1"
        remedy = "train_dataloader.batch_size=2 or more"
    else:
        cause = "the last batch of the training data has one image"
        remedy = "train_dataloader.drop_last=True"
    if world_size > 1:
        remedy += f", or norm_cfg=dict(type='SyncBN') of {part}"
    return (
        f"model.{part} ({kind}): its batch norm {name} would normalise one "
        f"value per channel, as it follows a map of 1 x 1 and {cause}: set {remedy}, "
        f"or norm_cfg=dict(type='GN', num_groups=32) of {part}"
    )
