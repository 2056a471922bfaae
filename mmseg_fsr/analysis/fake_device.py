"""A GPU that is not there: tensors with shapes and devices, but no values.

A step on torch's fake tensors takes no memory and does no arithmetic, and torch needs
no CUDA for it. What needs a value of a tensor of the device, for which the host of a
GPU would wait, raises an error, and so does an operation on tensors of two devices.
There is one limit: torch's backward pass needs a real device, or the CPU.
"""

import contextlib
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_fsr.models.pseudo_labels import frozen_sources

aten = torch.ops.aten


class _RefuseWaitingCopies(TorchDispatchMode):
    """Refuses copies between host and device that fake tensors allow, but that wait.

    To the host every copy waits, to the device each that is not ``non_blocking``.
    """

    def __init__(self, to_device: bool) -> None:
        super().__init__()
        self.to_device = to_device

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func is aten.copy_.default:
            target, source, waits = *args[:2], not any(args[2:])
        elif func is aten._to_copy.default:
            target, source, waits = result, args[0], not kwargs.get("non_blocking")
        else:
            return result
        kinds = source.device.type, target.device.type
        waits &= self.to_device and kinds == ("cpu", "cuda")
        if kinds == ("cuda", "cpu") or waits:
            raise RuntimeError(
                f"a tensor {tuple(source.shape)} is copied from {kinds[0]} to "
                f"{kinds[1]}, at which the host waits: make it on the device, or copy "
                "it outside the step"
            )
        return result


class _AttentionOfGPU(TorchFunctionMode):
    """Runs attention by the fused kernels, which torch takes on a GPU that is there."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        masked = kwargs.get("attn_mask") is not None
        if func is not F.scaled_dot_product_attention or masked:
            return func(*args, **kwargs)
        dtype = args[0].dtype
        if torch.is_autocast_enabled("cuda"):
            dtype = torch.get_autocast_dtype("cuda")
        query, key, value = (x.to(dtype) for x in args[:3])
        if dtype == torch.float32:
            # The second is the mask, the third whether gradients will be wanted.
            needs_grad = query.requires_grad
            attend = aten._scaled_dot_product_efficient_attention
            return attend(query, key, value, None, needs_grad)[0]
        return aten._scaled_dot_product_flash_attention(query, key, value)[0]


@contextlib.contextmanager
def fake_tensors(
    mode: FakeTensorMode,
    device: str = "cuda",
    amp: torch.dtype | None = None,
    may_wait_for_input: bool = False,
) -> Iterator[None]:
    """Makes tensors of the ``with`` block fake ones.

    Args:
        mode: What made the model's tensors fake, see :func:`move_to_fake`.
        device: Where the work is done, "cuda" or "cpu". Defaults to "cuda".
        amp: Dtype of mixed precision, by torch's rules for that device. Defaults to
            None, float32.
        may_wait_for_input: Whether the host may wait for copies to the device, as
            mmseg's own preprocessor does. Defaults to False.

    Raises:
        RuntimeError: If the host would wait for a copy. Torch's own errors of fake
            tensors are of several kinds.
    """
    autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    # `torch.autocast("cuda")` is off without CUDA, although its rules are there.
    torch.set_autocast_enabled(device, amp is not None)
    torch.set_autocast_dtype(device, amp or autocast[1])
    # As torch.autocast: outside it casts of weights are not kept.
    torch.autocast_increment_nesting()
    try:
        with (
            mode,
            _RefuseWaitingCopies(not may_wait_for_input),
            contextlib.ExitStack() as stack,
        ):
            if device == "cuda":
                stack.enter_context(_AttentionOfGPU())
            yield
    finally:
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled(device, autocast[0])
        torch.set_autocast_dtype(device, autocast[1])


def move_to_fake(model: nn.Module, mode: FakeTensorMode, device: str = "cuda") -> None:
    """Replaces parameters and buffers by fake ones, in place.

    Args:
        model: A model of mmengine, built as usual.
        mode: What makes the tensors.
        device: Where they are to be. Defaults to "cuda".
    """
    fakes: dict[int, Tensor] = {}

    def fake(value: Tensor) -> Tensor:
        if id(value) not in fakes:
            with mode:
                new = torch.empty_strided(
                    value.shape, value.stride(), dtype=value.dtype, device=device
                )
            if isinstance(value, nn.Parameter):
                new = nn.Parameter(new, requires_grad=value.requires_grad)
            fakes[id(value)] = new
        return fakes[id(value)]

    # Real values live until the end: ids are those of living objects.
    real = [*model.parameters(), *model.buffers()]
    for module in model.modules():
        for values in (module._parameters, module._buffers):
            values.update(
                {name: fake(x) for name, x in values.items() if x is not None}
            )
        if isinstance(module, BaseDataPreprocessor):
            # It keeps the device that `to` is given.
            with mode:
                module.to(device)
    for source in frozen_sources(model):
        move_to_fake(source.network, mode, device)
    del real


def training_batch(
    sizes: Sequence[tuple[int, int]],
    num_classes: int,
    batch_size: int,
    num_labels: int = 2,
) -> dict:
    """What a data loader gives to a segmentor that learns from image labels.

    Args:
        sizes: Height and width of each view in pixels.
        num_classes: Number of foreground classes.
        batch_size: Number of images.
        num_labels: Number of classes of each image. Defaults to 2.

    Returns:
        ``inputs``, by view a list of uint8 images (3, H, W), and ``data_samples``, both
        on the CPU; fake within :func:`fake_tensors`.
    """
    inputs = {
        f"view{number}": [
            torch.zeros(3, *size, dtype=torch.uint8) for _ in range(batch_size)
        ]
        for number, size in enumerate(sizes, start=1)
    }
    samples = []
    for _ in range(batch_size):
        sample = SegDataSample(gt_label=LabelData(label=torch.zeros(num_classes)))
        sample.set_metainfo(dict(num_labels=num_labels, num_unknown=0))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)
