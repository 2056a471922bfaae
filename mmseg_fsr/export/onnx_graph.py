"""A segmentor as one function from a picture's bytes to labels, and its ONNX graph."""

import contextlib
import copy
import io
import warnings

import torch
import torch.nn.functional as F
from mmpretrain.models.utils.attention import ShiftWindowMSA
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from .onnx_operators import replace_operators

OUTPUTS = ("labels", "logits")
# The first with LayerNorm, and the last that torch 2.5's exporter writes.
OPSET = 17
# What a segmentation takes, the last for an image-level prior; the rest is for the
# training.
_PARTS = ("data_preprocessor", "backbone", "neck", "decode_head", "cam_head")
# More oblong than images that position embeddings are made for: traced at the size of
# these, the graph would not resize them.
_TRACED_SIZE = (97, 353)


class SegmentationGraph(nn.Module):
    """Normalises pictures, segments them whole, and resizes to their size.

    It holds a copy of the network, without teacher and other parts of the training, in
    operators that ONNX has.

    Args:
        model: A segmentor of one decode head.
        output: "labels" or "logits".
    """

    def __init__(self, model: EncoderDecoder, output: str) -> None:
        super().__init__()
        self.network = copy.deepcopy(model)
        for name, _ in list(self.network.named_children()):
            if name not in _PARTS:
                setattr(self.network, name, None)
        replace_operators(self.network)
        self.output = output
        self.eval().cpu()

    def forward(self, image: Tensor) -> Tensor:
        """Segments pictures.

        Args:
            image: Pictures (N, H, W, 3), RGB, uint8.

        Returns:
            Labels (N, H, W), uint8, or logits (N, C, H, W), float32, of C classes.
        """
        network, (height, width) = self.network, image.shape[1:3]
        pictures = image.permute(0, 3, 1, 2).float()
        normalise = network.data_preprocessor
        if not _network_sees_rgb(normalise):
            pictures = pictures.flip(1)
        if normalise._enable_normalize:
            pictures = (pictures - normalise.mean) / normalise.std
        logits = F.interpolate(
            network(pictures, mode="tensor"),
            (height, width),
            mode="bilinear",
            align_corners=network.align_corners,
        )
        return logits if self.output == "logits" else logits.argmax(1).to(torch.uint8)


def check_exportable(model: nn.Module, size: tuple[int, int] | None) -> None:
    """Refuses a segmentor that :class:`SegmentationGraph` would not reproduce.

    Args:
        model: The segmentor.
        size: Height and width of the pictures; None if they are free.

    Raises:
        ValueError: Naming the part and what is expected of it.
    """
    head = getattr(model, "decode_head", None)
    if not isinstance(model, EncoderDecoder) or not isinstance(head, BaseDecodeHead):
        raise ValueError(
            f"{type(model).__name__} cannot be exported: expected a segmentor with one "
            "decode head, WeakSegmentor or mmseg's EncoderDecoder"
        )
    own = [
        name
        for name in ("predict", "predict_by_feat")
        if getattr(type(head), name) is not getattr(BaseDecodeHead, name)
    ]
    if own or head.out_channels != head.num_classes:
        reason = (
            f"has its own {own[0]}"
            if own
            else f"has {head.out_channels} output(s) for {head.num_classes} classes"
        )
        raise ValueError(
            f"model.decode_head, a {type(head).__name__}, cannot be exported: it "
            f"{reason}; expected logits of each class, whose largest is the label"
        )
    if head.num_classes > 256:
        raise ValueError(
            f"model.decode_head has {head.num_classes} classes: labels of 8 bits tell "
            "256 apart"
        )
    if getattr(model.data_preprocessor, "test_cfg", None):
        raise ValueError(
            "model.data_preprocessor.test_cfg pads pictures, which the graph does not: "
            "take it out of the config"
        )
    if size is None and any(
        type(module) is ShiftWindowMSA and not module.pad_small_map
        for module in model.backbone.modules()
    ):
        raise ValueError(
            "the Swin Transformer's pad_small_map is False: how its windows shift "
            "depends on the picture's size; export it for one size, --size H W, or set "
            "pad_small_map=True in the backbone (other predictions where a map is as "
            "small as a window)"
        )


def onnx_graph(
    model: EncoderDecoder, output: str = "labels", size: tuple[int, int] | None = None
) -> bytes:
    """Traces a segmentor into an ONNX graph.

    It is torch's exporter by tracing (TorchScript), which torch 2.5 and newer have. The
    one by ``torch.export`` takes many times as long, and another package.

    Args:
        model: The segmentor.
        output: "labels" or "logits". Defaults to "labels".
        size: Height and width of the pictures. Defaults to None, any size.

    Returns:
        The serialized graph: ``image`` as :class:`SegmentationGraph` takes it; an
        output of the name ``output``. The number of pictures is free.

    Raises:
        ValueError: If the model cannot be exported.
    """
    check_exportable(model, size)
    graph = SegmentationGraph(model, output)
    image = torch.zeros(1, *(size or _TRACED_SIZE), 3, dtype=torch.uint8)
    first = 1 if output == "labels" else 2
    free = dict(image={0: "batch"}, **{output: {0: "batch"}})
    if size is None:
        free["image"] |= {1: "height", 2: "width"}
        free[output] |= {first: "height", first + 1: "width"}
    content = io.BytesIO()
    # It warns of each comparison of sizes, and prints the graph if it fails.
    printed = contextlib.redirect_stdout(io.StringIO())
    with printed, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            torch.onnx.export(
                graph,
                (image,),
                content,
                input_names=["image"],
                output_names=[output],
                opset_version=OPSET,
                dynamic_axes=free,
                dynamo=False,
            )
        # The network's own errors are of any kind: some take one size alone.
        except Exception as error:
            height, width = image.shape[1:3]
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise ValueError(
                f"{_names(model)} cannot be exported for "
                f"{f'{height} x {width}' if size else 'any size'}: {reason}"
                + ("" if size else "; it might for one size, --size H W")
            ) from error
    return content.getvalue()


def _network_sees_rgb(data_preprocessor: nn.Module) -> bool:
    """Whether images, which pipelines load as BGR, reach the network as RGB."""
    # OneDL's mmseg has it with an underscore, OpenMMLab's without.
    for name in ("_channel_conversion", "channel_conversion"):
        if hasattr(data_preprocessor, name):
            return getattr(data_preprocessor, name)
    raise ValueError(
        f"data_preprocessor is a {type(data_preprocessor).__name__}: expected "
        "MultiViewSegDataPreProcessor or mmseg's SegDataPreProcessor"
    )


def _names(model: EncoderDecoder) -> str:
    """The names of the network's parts, for an error."""
    backbone = getattr(model.backbone, "backbone", model.backbone)
    return f"{type(backbone).__name__} with {type(model.decode_head).__name__}"
