"""Export of a trained segmentor as an ONNX file that needs nothing of this package."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from mmengine.utils import to_2tuple
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import DATASETS

from mmseg_fsr.apis.inference import inference_pipeline
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.version import __version__

from .onnx_comparison import MIN_EQUAL, Comparison, GraphRunError, compare_pictures
from .onnx_graph import OUTPUTS, onnx_graph


def export_onnx(
    model: EncoderDecoder,
    out: str | Path,
    images: Sequence[str | Path],
    output: str = "labels",
    size: tuple[int, int] | None = None,
) -> list[Comparison]:
    """Writes a segmentor as an ONNX file, if ONNX Runtime makes the same of pictures.

    The graph takes ``image`` (N, H, W, 3), RGB, uint8, as decoders give it, normalises
    it, segments it whole and gives ``labels`` (N, H, W), uint8, or ``logits``
    (N, C, H, W), float32, of C classes. Its metadata say what labels mean.

    Args:
        model: What :func:`~mmseg_fsr.apis.init_model` gives.
        out: The file to write, in an existing folder. One of that name is replaced.
        images: Files of pictures on which both are compared.
        output: "labels" or "logits". Defaults to "labels".
        size: Height and width of all pictures. Defaults to None, any size.

    Returns:
        What the comparison found for each picture and size.

    Raises:
        ImportError: If onnx or onnxruntime is not installed.
        FileNotFoundError: If a picture is missing.
        ValueError: If the model cannot be exported, there is no picture, one cannot be
            read, or labels differ in more than 0.1 % of a picture's pixels. Then
            nothing is written.

    Example:
        >>> model = init_model("configs/fsr/fsr_vit-b_voc.py", "fsr_vit-b_voc.pth")
        >>> export_onnx(model, "fsr_vit-b_voc.onnx", ["photo.jpg"])
    """
    onnx, onnxruntime = import_onnx()
    if output not in OUTPUTS:
        raise ValueError(f"output={output!r}: expected one of {OUTPUTS}")
    if size is not None and min(size) < 1:
        raise ValueError(f"size={size}: expected height and width in pixels")
    if not images:
        raise ValueError("images is empty: name pictures to compare the file on")
    proto = onnx.load_from_string(onnx_graph(model, output, size))
    onnx.helper.set_model_props(proto, metadata(model, size))
    onnx.checker.check_model(proto)
    content = proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    # Its errors are raised, too.
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        content, options, providers=["CPUExecutionProvider"]
    )
    remedy = "" if size else "; it might for one size, --size H W"
    try:
        comparisons = compare_pictures(session, model, images, size)
    except GraphRunError as error:
        raise ValueError(f"{out} is not written: {error}{remedy}") from error
    worst = min(comparisons, key=lambda x: x.equal)
    if worst.equal < MIN_EQUAL:
        height, width = worst.size
        raise ValueError(
            f"{out} is not written: labels equal PyTorch's in {worst.equal:.2%} of the "
            f"pixels of {worst.picture} at {height} x {width}, expected at least "
            f"{MIN_EQUAL:.1%}{remedy}"
        )
    with atomic_write(out, "wb") as file:
        file.write(content)
    return comparisons


def metadata(model: EncoderDecoder, size: tuple[int, int] | None) -> dict[str, str]:
    """What an exported file says of itself.

    Args:
        model: What :func:`~mmseg_fsr.apis.init_model` gives.
        size: Height and width of all pictures; None if they are free.

    Returns:
        ``classes``, ``palette``, ``size``, ``test_resize`` and, where deep pictures
        were scaled to 8 bits, ``pixel_range``, as JSON; ``config``, its name without
        suffix; ``mmseg_fsr``, the version.

    Raises:
        ValueError: If the classes are unknown.
    """
    meta = getattr(model, "dataset_meta", None) or {}
    if not meta.get("classes"):
        raise ValueError(
            "the classes are unknown: neither the checkpoint nor a data set of the "
            "config has them; give test_dataloader.dataset.metainfo.classes"
        )
    values = dict(
        classes=list(meta["classes"]),
        palette=[list(map(int, colour)) for colour in meta.get("palette") or ()],
        size=None if size is None else list(size),
        test_resize=_test_resize(model),
    )
    if meta.get("pixel_range") is not None:
        values["pixel_range"] = list(meta["pixel_range"])
    return {
        "mmseg_fsr": __version__,
        "config": Path(model.cfg.filename or "").stem,
        **{name: json.dumps(value) for name, value in values.items()},
    }


def data_set_pictures(model: EncoderDecoder, count: int = 4) -> list[str]:
    """Files of pictures of the data set that a config tests on.

    Args:
        model: What :func:`~mmseg_fsr.apis.init_model` gives.
        count: Their largest number. Defaults to 4.

    Returns:
        Paths, evenly spread over the data set.

    Raises:
        ValueError: If there is no data set, or it cannot be read.
    """
    loader = model.cfg.get("test_dataloader") or model.cfg.get("val_dataloader")
    try:
        if loader is None:
            raise ValueError("the config has no test_dataloader")
        dataset = DATASETS.build(loader.dataset)
    except (ValueError, OSError) as error:
        raise ValueError(
            f"no pictures to compare PyTorch and ONNX Runtime on: {error}; name some "
            "files by --images"
        ) from error
    step = max(1, len(dataset) // count)
    return [dataset.get_data_info(i)["img_path"] for i in range(0, len(dataset), step)][
        :count
    ]


def import_onnx() -> tuple[ModuleType, ModuleType]:
    """The packages onnx and onnxruntime.

    Raises:
        ImportError: If one is missing; says what to install.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            f"the export needs onnx and onnxruntime ({error}): "
            "pip install 'mmseg_fsr[onnx]'"
        ) from error
    return onnx, onnxruntime


def _test_resize(model: EncoderDecoder) -> dict | None:
    """To what size the config's test pipeline brings pictures; None for their own."""
    for step in inference_pipeline(model.cfg):
        if step["type"] == "Resize" and step.get("scale"):
            width, height = to_2tuple(step["scale"])
            keep_ratio = bool(step.get("keep_ratio"))
            return dict(height=height, width=width, keep_ratio=keep_ratio)
    return None
