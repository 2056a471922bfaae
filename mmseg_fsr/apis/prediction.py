"""Segmentation of any number of images, which may be large."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.runner.amp import autocast
from mmseg.models.segmentors import BaseSegmentor
from mmseg.registry import MODELS
from PIL import Image
from torch import Tensor

from mmseg_fsr.datasets.image_file import array_of_picture
from mmseg_fsr.models.backbones import ImageTooSmallError
from mmseg_fsr.models.segmentors import CAMSegmentor, require_merged_logits
from mmseg_fsr.utils.config_file import require_keys
from mmseg_fsr.utils.label_ids import BACKGROUND
from mmseg_fsr.utils.pipeline_steps import map_steps, without_annotations

from .inference import class_ids, inference_pipeline, load_image
from .init_model import init_model
from .tiles import blended_bands

ImageLike = str | Path | np.ndarray | Image.Image

# From here on a picture's logits are enlarged one class at a time.
_MAX_LOGITS_BYTES = 2**28
# A CRF takes some 75 bytes for each pixel and class.
_MAX_CRF_VALUES = 20_000_000
_MIN_TILE = 16
_ENDED = object()


@dataclass(frozen=True)
class Prediction:
    """What :func:`predict` says of an image of H x W pixels.

    Args:
        image: The picture, RGB (H, W, 3), uint8, turned the way its EXIF data say.
        label: Class ids (H, W), uint8, 0 is the background.
        probabilities: Of all K + 1 classes (K + 1, H, W), uint8, in 255ths; None if
            not asked for.
        cams: CAMs of M classes (M, H, W), uint8, in 255ths; None if not asked for.
        cam_ids: The ids of these M classes, 1..K, ascending.
        num_tiles: Number of tiles that the picture was cut into.
        problem: Why the image could not be predicted; the other fields are then None,
            empty or 0. None if it could.
    """

    image: np.ndarray | None = None
    label: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    cams: np.ndarray | None = None
    cam_ids: tuple[int, ...] = ()
    num_tiles: int = 0
    problem: str | None = None


def predict(
    model: BaseSegmentor | tuple,
    images: ImageLike | Iterable[ImageLike],
    *,
    labels: Sequence[str] | Iterable[Sequence[str] | None] | None = None,
    tta: bool = False,
    crf: bool = False,
    cams: bool = False,
    probabilities: bool = False,
    tile: int | None = None,
    amp: bool = False,
) -> Iterator[Prediction]:
    """Segments images one after the other, as they are asked for.

    The labels are those that ``tools/test.py --out`` writes. Whole pictures go through
    the config's ``test_dataloader`` pipeline, or ``tta_pipeline``; docs/inference.md
    says what becomes of large ones.

    Args:
        model: What :func:`~mmseg_fsr.apis.init_model` gives, or a tuple of its
            arguments, such as ``(config, checkpoint)``.
        images: One image or any number: paths, pictures of Pillow, and arrays as for
            :func:`~mmseg_fsr.apis.inference_cams` (BGR), mixed as you like. They are
            taken as they are needed.
        labels: Names of the classes that the images may have beside the background: a
            list for all images, or an iterable with a list, or None, for each. Defaults
            to None, every class.
        tta: Whether to use the config's test-time augmentation, for the segmentation;
            CAMs stay as they are without. Defaults to False.
        crf: Whether the config's CRF refines the segmentation. Defaults to False.
        cams: Whether CAMs are wanted: of the classes in ``labels``, else of those that
            the classifier finds; of a tile, always of those that it finds there.
            Defaults to False.
        probabilities: Whether the classes' probabilities are wanted. Defaults to
            False.
        tile: Side of the square tiles that pictures with a longer side are cut into.
            Each tile goes through the pipeline as if it were a picture. Defaults to
            None: none if the pipeline brings pictures to a size of its own, else twice
            the size that the model was trained at.
        amp: Whether the network runs in float16 on a GPU, in bfloat16 on a CPU.
            Defaults to False.

    Returns:
        An iterator over a :class:`Prediction` for each image, in their order. An image
        that cannot be read, is no image, is too small for the backbone, or is too large
        for the CRF has a ``problem``.

    Raises:
        ValueError: At once, if the model or its config lacks what an argument needs;
            while iterating, if labels are unknown to the model or are not as many as
            the images, or the network gives no numbers.

    Example:
        >>> model = init_model("configs/fsr/fsr_vit-b_voc.py", "fsr_vit-b_voc.pth")
        >>> for prediction in predict(model, ["cat.jpg", "sofa.jpg"]):
        ...     print(prediction.label.shape, np.unique(prediction.label))
    """
    if isinstance(model, tuple):
        model = init_model(*model)
    one = np.ndim(images) < 4 if isinstance(images, np.ndarray) else False
    if one or isinstance(images, str | Path | Image.Image):
        images = [images]
    predictor = _Predictor(model, tta, crf, cams, probabilities, tile, amp)
    return _predictions(predictor, images, labels)


def default_tile(cfg: Config, pipeline: Sequence[dict]) -> int | None:
    """Side of the tiles of large pictures, where nobody names it.

    Args:
        cfg: The model's config.
        pipeline: The steps that its images go through.

    Returns:
        None if the pipeline brings pictures of every size to one that the config
        names: it sees each as a whole. Else twice the longer side of the images that
        the model was trained at: ``crop_size`` of ``model.test_cfg``, the size of the
        ``Resize`` in the test pipeline, or the config's ``crop_size``, whichever is
        found first; None if none is.
    """
    if _named_size(pipeline) is not None:
        return None
    size = (
        cfg.model.get("test_cfg", {}).get("crop_size")
        or _named_size(inference_pipeline(cfg))
        or cfg.get("crop_size")
    )
    return None if size is None else 2 * max(size)


def _named_size(pipeline: Sequence[dict]) -> tuple[int, ...] | None:
    """The size to which a pipeline brings all pictures, if it does."""
    sizes: list[tuple[int, ...]] = []

    def look(step: dict) -> dict:
        scale = step.get("scale")
        if "Resize" in step["type"] and scale is not None:
            sizes.append((scale,) if isinstance(scale, int) else tuple(scale))
        return step

    map_steps(pipeline, look)
    return sizes[0] if sizes else None


def _predictions(
    predictor: "_Predictor",
    images: Iterable[ImageLike],
    labels: Sequence[str] | Iterable[Sequence[str] | None] | None,
) -> Iterator[Prediction]:
    """A prediction, or a problem, for each image."""
    for_all = isinstance(labels, str | bytes | None) or (
        isinstance(labels, Sequence) and all(isinstance(x, str) for x in labels)
    )
    pairs = (
        ((image, labels) for image in images) if for_all else _paired(images, labels)
    )
    for image, names in pairs:
        ids = predictor.ids(names)
        try:
            results = predictor.load(image)
            predictor.require_size(results, ids)
        except FileNotFoundError:
            yield Prediction(problem=f"image {image} does not exist")
            continue
        except (OSError, ValueError, TypeError) as error:
            yield Prediction(problem=str(error))
            continue
        try:
            prediction = predictor.predict(results, ids, names is not None)
        except ImageTooSmallError as error:
            # Where the steps do not resize it, as those of test-time augmentation.
            name = results.get("img_path") or "the image"
            prediction = Prediction(problem=f"{name}: {error}")
        yield prediction


def _paired(
    images: Iterable[ImageLike], labels: Iterable[Sequence[str] | None]
) -> Iterator[tuple[ImageLike, Sequence[str] | None]]:
    """Each image with its labels."""
    for done, pair in enumerate(zip_longest(images, labels, fillvalue=_ENDED)):
        if any(part is _ENDED for part in pair):
            counts = [
                len(given)
                if isinstance(given, Sized)
                else f"{'more than ' * (part is not _ENDED)}{done}"
                for given, part in zip((images, labels), pair, strict=True)
            ]
            raise ValueError(
                f"there are {counts[0]} images, but labels of {counts[1]}: expected a "
                "list of names, or None, for each image"
            )
        yield pair


class _Predictor:
    """A model with what to do with each image; arguments as of :func:`predict`."""

    def __init__(
        self,
        model: BaseSegmentor,
        tta: bool,
        crf: bool,
        cams: bool,
        probabilities: bool,
        tile: int | None,
        amp: bool,
    ) -> None:
        cfg = model.cfg
        if model.out_channels < 2:
            raise ValueError(
                "the model's decode_head has one output for two classes: set "
                "out_channels=2, one output a class"
            )
        if cams and not isinstance(model, CAMSegmentor):
            raise ValueError(
                f"the model is a {type(model).__name__}, which has no CAMs: expected a "
                "WeakSegmentor"
            )
        if tile is not None and tile < _MIN_TILE:
            raise ValueError(f"tile={tile}: expected at least {_MIN_TILE} pixels")
        self.model = self.segmentor = model
        self.num_classes = model.out_channels
        self.pixel_range = getattr(model, "dataset_meta", {}).get("pixel_range")
        pipeline = inference_pipeline(cfg)
        self.loading, self.plain_steps = _split(pipeline)
        self.steps = self.plain_steps
        if tta:
            require_keys(cfg, "test-time augmentation", "tta_model", "tta_pipeline")
            pipeline = cfg.tta_pipeline
            self.loading, self.steps = _split(pipeline)
            self.segmentor = MODELS.build(dict(cfg.tta_model, module=model))
            require_merged_logits(self.segmentor)
        self.crf = None
        if crf:
            require_keys(cfg, "a CRF", "crf")
            self.crf = MODELS.build(cfg.crf)
        self.tile = default_tile(cfg, pipeline) if tile is None else tile
        self.tta, self.cams, self.probabilities = tta, cams, probabilities
        device = next(model.parameters()).device.type
        self.autocast = partial(autocast, device_type=device, enabled=amp)

    def ids(self, names: Sequence[str] | None) -> list[int]:
        """Ids of the background and of the classes that an image may have."""
        if names is None:
            return list(range(self.num_classes))
        return [BACKGROUND, *class_ids(names, self.model)]

    def load(self, image: ImageLike) -> dict:
        """Loads an image, scaled to 8 bits, for the steps that follow."""
        if isinstance(image, Image.Image):
            image = array_of_picture(image)
        load, *scale = self.loading
        return Compose(scale)(load_image(image, load, self.pixel_range))

    def require_size(self, results: dict, ids: Sequence[int]) -> None:
        """Refuses a picture that is too large for the CRF."""
        height, width = results["img"].shape[:2]
        if self._is_tiled(results):
            height, width = min(height, self.tile), min(width, self.tile)
        if self.crf is not None and height * width * len(ids) > _MAX_CRF_VALUES:
            name = results.get("img_path") or "the image"
            raise ValueError(
                f"{name} has {width} x {height} pixels at a time for a CRF of "
                f"{len(ids)} classes: expected {_MAX_CRF_VALUES // len(ids)} pixels at "
                "most; choose smaller tiles, or no CRF"
            )

    @torch.no_grad()
    def predict(self, results: dict, ids: list[int], is_given: bool) -> Prediction:
        """Predicts a loaded image, whose classes may be given."""
        picture = results["img"]
        height, width = picture.shape[:2]
        label = np.zeros((height, width), np.uint8)
        shape = (self.num_classes, height, width)
        probs = np.zeros(shape, np.uint8) if self.probabilities else None
        cams, shown, num_tiles = None, set(), 0
        if self.cams:
            cams = np.zeros((self.num_classes - 1, height, width), np.uint8)

        def read(rows: slice, maps: Callable[[], Iterable[Tensor]]) -> None:
            part = None if probs is None else probs[:, rows]
            is_refined = self.crf is not None and len(ids) > 1
            _read_out(maps, ids, is_refined, label[rows], part)

        def of_tile(rows: slice, columns: slice) -> Tensor:
            nonlocal num_tiles
            num_tiles += 1
            window = np.ascontiguousarray(picture[rows, columns])
            size = window.shape[:2]
            part = dict(results, img=window, img_shape=size, ori_shape=size)
            maps = [self._scores(part, ids).float()]
            if self.cams:
                # A tile need not show all classes of its picture.
                activation, classes = self._activation(part, ids, is_given=False)
                shown.update(classes)
                maps += [_enlarge(activation, size, align_corners=False)]
            return torch.cat(maps)

        if self._is_tiled(results):
            for top, band in blended_bands(height, width, self.tile, of_tile):
                rows = slice(top, top + band.shape[1])
                read(rows, lambda band=band: band[: len(ids)])
                for k, cam in enumerate(band[len(ids) :]):
                    cams[k, rows] = _to_255ths(cam)
        else:
            num_tiles = 1
            read(slice(None), self._class_maps(results, ids))
            if self.cams:
                activation, shown = self._activation(results, ids, is_given)
                for k in shown:
                    cam = _enlarge(activation[k - 1 : k], (height, width), False)
                    cams[k - 1] = _to_255ths(cam[0])
        cam_ids = tuple(sorted(shown))
        if self.cams:
            cams = cams[[k - 1 for k in cam_ids]]
        rgb = np.ascontiguousarray(picture[..., ::-1])
        return Prediction(rgb, label, probs, cams, cam_ids, num_tiles)

    def _is_tiled(self, results: dict) -> bool:
        return self.tile is not None and max(results["img"].shape[:2]) > self.tile

    def _class_maps(
        self, results: dict, ids: list[int]
    ) -> Callable[[], Iterable[Tensor]]:
        """What goes through the scores (H, W) of a picture's classes, in order."""
        size = results["img"].shape[:2]
        is_large = 4 * self.num_classes * size[0] * size[1] > _MAX_LOGITS_BYTES
        if is_large and not self.tta and self.crf is None:
            logits = self._small_logits(results)
            corners = self.model.align_corners
            return lambda: (_enlarge(logits[k : k + 1], size, corners)[0] for k in ids)
        scores = self._scores(results, ids)
        return lambda: scores

    def _scores(self, results: dict, ids: list[int]) -> Tensor:
        """Logits (C, H, W) of C classes, or probabilities that a CRF gives them."""
        # The steps replace the picture in what they are given.
        batch = pseudo_collate([self.steps(dict(results))])
        with self.autocast():
            (sample,) = self.segmentor.test_step(batch)
        logits = sample.seg_logits.data
        if len(ids) < self.num_classes:
            logits = logits[ids]
        # With the background alone a CRF has nothing to decide.
        if self.crf is None or len(ids) == 1:
            return logits
        rgb = np.ascontiguousarray(results["img"][..., ::-1].transpose(2, 0, 1))
        image = torch.from_numpy(rgb)[None]
        return self.crf(image, logits.float().softmax(0)[None])[0]

    def _small_logits(self, results: dict) -> Tensor:
        """Logits (C, h, w) before they are enlarged to the picture's size."""
        batch = self._plain_batch(results)
        inputs, samples = batch["inputs"], batch["data_samples"]
        model = self.model
        with self.autocast():
            if isinstance(model, CAMSegmentor) and model.test_cfg.mode == "whole":
                return model(inputs, mode="tensor")[0].float()
            return model.inference(inputs, [s.metainfo for s in samples])[0].float()

    def _activation(
        self, results: dict, ids: list[int], is_given: bool
    ) -> tuple[Tensor, list[int]]:
        """CAMs (K, h, w) in 0..1, 0 for classes not shown, and the ids of the shown."""
        inputs = self._plain_batch(results)["inputs"]
        with self.autocast():
            features = self.model.backbone(inputs, up_to="feat")
            scores, _ = self.model.cam_head(features)
            cams = self.model.cams(inputs, features=features).top[0].float()
        allowed = torch.zeros(len(cams), dtype=torch.bool, device=cams.device)
        allowed[[k - 1 for k in ids if k != BACKGROUND]] = True
        shown = allowed if is_given else allowed & (scores[0] > 0)
        return cams * shown[:, None, None], (shown.nonzero()[:, 0] + 1).tolist()

    def _plain_batch(self, results: dict) -> dict:
        """A picture as the model takes it without augmentation."""
        item = pseudo_collate([self.plain_steps(dict(results))])
        return self.model.data_preprocessor(item, False)


def _split(pipeline: Sequence[dict]) -> tuple[list[dict], Compose]:
    """The steps that load a whole picture, and those that a tile goes through, too."""
    steps = without_annotations(pipeline)
    count = 2 if [step["type"] for step in steps[1:2]] == ["ScaleTo8Bit"] else 1
    return steps[:count], Compose(steps[count:])


def _enlarge(maps: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
    """Maps (C, h, w) at the size (H, W), bilinear."""
    return F.interpolate(
        maps[None], size, mode="bilinear", align_corners=align_corners
    )[0]


def _read_out(
    maps: Callable[[], Iterable[Tensor]],
    ids: Sequence[int],
    are_probabilities: bool,
    label: np.ndarray,
    probabilities: np.ndarray | None,
) -> None:
    """Fills in labels, and probabilities if wanted, one class at a time.

    Args:
        maps: Goes through the scores (H, W) of C classes.
        ids: The classes' ids.
        are_probabilities: Whether the scores are no logits.
        label: (H, W) uint8, gets the id of the highest score; of equals, the first.
        probabilities: None, or (K + 1, H, W) uint8, gets those of the C classes.
    """
    best = winner = None
    for k, scores in zip(ids, maps(), strict=True):
        if best is None:
            best, winner = scores.clone(), torch.full_like(scores, k, dtype=torch.uint8)
        else:
            winner.masked_fill_(scores > best, k)
            torch.maximum(best, scores, out=best)
    if not torch.isfinite(best).all():
        raise ValueError(
            "the network's scores are no finite numbers: its weights may be broken"
        )
    label[:] = winner.cpu().numpy()
    if probabilities is None:
        return
    total: Tensor | float = 1.0
    if not are_probabilities:
        total = sum((scores - best).exp_() for scores in maps())
    for k, scores in zip(ids, maps(), strict=True):
        share = scores if are_probabilities else (scores - best).exp_().div_(total)
        probabilities[k] = _to_255ths(share)


def _to_255ths(values: Tensor) -> np.ndarray:
    """Values in 0..1 as uint8."""
    return (values * 255).round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()
