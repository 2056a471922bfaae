"""Images with image-level class labels instead of masks."""

import logging
import os.path as osp
from collections import Counter
from collections.abc import Sequence
from typing import Any

import mmcv
import numpy as np
from mmengine import fileio
from mmengine.fileio import list_from_file
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_fsr.utils.label_ids import IGNORE_INDEX

from .bad_images import BadImages
from .image_file import MAX_PIXELS, pixel_limit
from .label_file import read_label_file
from .mask_file import read_mask
from .seeded_infinite_sampler import seeded_by
from .split_file import check_image_name, image_name


@DATASETS.register_module()
class ImageLabelDataset(BaseSegDataset):
    """Any folder of images with a label file.

    Classes and palette come from ``metainfo``, as in MMSegmentation; the first
    class is the background. Each item's ``data_info`` holds ``gt_label``, a float32
    multi-hot array (K,) over the K foreground classes. Masks are only known to it,
    and only loaded by the pipeline, where ``data_prefix`` has a ``seg_map_path``:
    validation needs one, training does not.

    Ids in the label file are those of the masks, 1..K over all classes of the data
    set. Where ``metainfo`` chooses some of a data set's ``METAINFO`` classes, labels
    of the others are dropped, as MMSegmentation drops their pixels.

    Args:
        ann_file: Split list, an image name without suffix a line; all images of
            the folder if empty. Defaults to ''.
        label_file: Label file (see :mod:`mmseg_fsr.datasets.label_file`), relative
            to ``data_root``. May be None in ``test_mode`` only. Defaults to None.
        data_prefix: Folders of the images (``img_path``) and, for validation, of
            the masks (``seg_map_path``). Defaults to ``dict(img_path='')``.
        max_pixels: The most pixels that an image or mask may have; a file of a few
            kilobytes can declare any number. For loading by Pillow, as in our configs.
            Defaults to 178956970, where Pillow raises an error of its own; it warns
            from half of the limit on.
        on_bad_image: ``'raise'``, or ``'skip'`` to leave out, in training, an image
            that is missing, cannot be read or decoded to its end, or has too many
            pixels. Another, drawn at random, takes its place. The first time that
            an image is left out, a warning names it. All other errors are raised as
            ever, those of masks too. Defaults to 'raise'.
        max_bad_share: The largest share of the data set's images, in 0..1, that
            ``'skip'`` may leave out. The workers of a data loader count together,
            each rank for itself, and a resumed run anew. Defaults to 0.01.
        **kwargs: Further arguments of ``BaseSegDataset``.

    Attributes:
        bad_images: The images left out so far, a :class:`BadImages`; None unless
            ``on_bad_image='skip'``. A subset or copy of the data set has its own.

    Raises:
        FileNotFoundError: If the data root, split, image folder or label file is
            missing, or, on access, an image or mask.
        ValueError: If the first class is not the background, the split or label
            file is wrong, ``max_pixels`` is not positive, ``on_bad_image`` is
            unknown or ``'skip'`` in ``test_mode``, ``max_bad_share`` is not in 0..1,
            or, on access, an image or mask cannot be decoded or has too many pixels.
        OSError: On access, if an image could not be read, but could when tried again.
        RuntimeError: On access, if more than ``max_bad_share`` of the images, or all,
            are bad.

    Examples:
        >>> dataset = ImageLabelDataset(
        ...     data_root='data/pets',
        ...     ann_file='train.txt',
        ...     label_file='image_labels.json',
        ...     data_prefix=dict(img_path='images'),
        ...     metainfo=dict(classes=('background', 'cat', 'dog')))
        >>> dataset.get_data_info(0)['gt_label']
        array([1., 0.], dtype=float32)
    """

    def __init__(
        self,
        ann_file: str = "",
        label_file: str | None = None,
        data_prefix: dict = dict(img_path=""),
        max_pixels: int = MAX_PIXELS,
        on_bad_image: str = "raise",
        max_bad_share: float = 0.01,
        **kwargs: Any,
    ) -> None:
        if max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, got {max_pixels}")
        if on_bad_image not in ("raise", "skip"):
            raise ValueError(
                f"on_bad_image must be 'raise' or 'skip', got {on_bad_image!r}"
            )
        if on_bad_image == "skip" and kwargs.get("test_mode"):
            raise ValueError(
                "on_bad_image='skip' is for training, not for a data set with "
                "test_mode=True: scores need every image; set it for "
                "train_dataloader alone"
            )
        if not 0 <= max_bad_share <= 1:
            raise ValueError(
                "max_bad_share must be a share of the images, in 0..1, got "
                f"{max_bad_share}"
            )
        self.label_file = label_file
        self.max_pixels = max_pixels
        self.on_bad_image = on_bad_image
        self.max_bad_share = max_bad_share
        self.bad_images: BadImages | None = None
        super().__init__(ann_file=ann_file, data_prefix=data_prefix, **kwargs)

    def full_init(self) -> None:
        """Lists the images and counts bad ones from 0, unless that is done."""
        if not self._fully_initialized:
            super().full_init()
            self._reset_bad_images()

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keeps some of the items, as MMEngine's ``BaseDataset.get_subset_`` does.

        Args:
            indices: Which ones, or how many: the first, or the last if negative.
        """
        super().get_subset_(indices)
        self._reset_bad_images()

    def get_subset(self, indices: Sequence[int] | int) -> "ImageLabelDataset":
        """A data set of some of the items.

        Args:
            indices: Which ones, or how many: the first, or the last if negative.

        Returns:
            A copy that holds those items alone.
        """
        subset = super().get_subset(indices)
        subset._reset_bad_images()
        return subset

    def _reset_bad_images(self) -> None:
        """Counts from 0; for workers that are started later, as they share memory."""
        if self.on_bad_image == "skip":
            self.bad_images = BadImages(len(self))

    def _join_prefix(self) -> None:
        super()._join_prefix()
        if self.label_file and not osp.isabs(self.label_file):
            self.label_file = osp.join(self.data_root, self.label_file)

    def load_data_list(self) -> list[dict]:
        """Lists the images with their labels.

        Returns:
            A dict for each image: ``img_path``, ``gt_label`` where there is a label
            file, ``seg_map_path`` where there is a prefix for it, and
            MMSegmentation's own keys.

        Raises:
            FileNotFoundError: If a file or folder is missing.
            ValueError: If the classes, the split or the label file is wrong.
        """
        kept = self._kept_columns()
        self._check_paths()
        self._check_split_names()
        data_list = super().load_data_list()
        names = [self.image_name(info["img_path"]) for info in data_list]
        self._check_names(names)
        for info, name in zip(data_list, names, strict=True):
            if "seg_map_path" in info:
                # MMSegmentation takes nothing for the name where `img_suffix` is ''.
                mask = name + self.seg_map_suffix
                info["seg_map_path"] = osp.join(self.data_prefix["seg_map_path"], mask)
        if self.label_file is None:
            if not self.test_mode:
                raise ValueError(
                    f"{type(self).__name__} needs `label_file` for training (only "
                    "validation, `test_mode=True`, goes without)"
                )
            return data_list
        labels = read_label_file(self.label_file, names, self._all_classes())[:, kept]
        for info, label in zip(data_list, labels, strict=True):
            info["gt_label"] = label.copy()
        return data_list

    def __getitem__(self, idx: int) -> Any:
        """Loads and augments an item.

        Args:
            idx: Index of the item; one of a
                :class:`~mmseg_fsr.datasets.SeededInfiniteSampler` brings the seed of
                the augmentation with it.

        Returns:
            What the pipeline returns.
        """
        with seeded_by(idx):
            return super().__getitem__(int(idx))

    def prepare_data(self, idx: int) -> Any:
        """Runs the pipeline on an item, naming the file if one is at fault.

        Args:
            idx: Index of the item.

        Returns:
            What the pipeline returns, or None for a bad image that is left out.

        Raises:
            FileNotFoundError: If the image or the mask is missing.
            ValueError: If the image or the mask cannot be decoded, or the mask is not
                one of class ids, or not of the image's size.
            OSError: If the image could not be read, but could when tried again.
            RuntimeError: If too many images are left out.
        """
        info = self.get_data_info(idx)
        try:
            with pixel_limit(self.max_pixels):
                results = self.pipeline(info)
        except Exception as error:
            fault = self._image_fault(info, error)
            if fault is not None and self.bad_images is not None:
                self._leave_out(idx, fault)
                return None
            if fault is None and "seg_map_path" in info:
                fault = self._file_fault("mask", info["seg_map_path"])
            if fault is None:
                raise
            raise fault from error
        samples = results.get("data_samples") if isinstance(results, dict) else None
        # Test-time augmentation makes several of an image, with one mask.
        sample = samples[0] if isinstance(samples, list) else samples
        if isinstance(sample, SegDataSample) and "gt_sem_seg" in sample:
            with pixel_limit(self.max_pixels):
                self._check_mask(self.get_data_info(idx), sample)
        return results

    def image_name(self, path: str) -> str:
        """The name of an image in the split and label files.

        Args:
            path: ``img_path`` of an item.

        Returns:
            The path within the folder of images, without suffix.
        """
        return image_name(path, self.data_prefix.get("img_path", ""), self.img_suffix)

    def image_names(self) -> list[str]:
        """The names of all images, in the order of the items."""
        infos = (self.get_data_info(index) for index in range(len(self)))
        return [self.image_name(info["img_path"]) for info in infos]

    def mask_ids(self) -> list[int]:
        """The id that each class has in masks: its own unless classes are chosen."""
        return [0, *(int(column) + 1 for column in self._kept_columns())]

    def _all_classes(self) -> tuple[str, ...]:
        """The classes that label files and masks count, before any choice."""
        return tuple(self.METAINFO.get("classes", self._metainfo.get("classes", ())))

    def _kept_columns(self) -> np.ndarray:
        """Columns of the full multi-hot labels that make up ``gt_label``."""
        everything = self._all_classes()
        chosen = tuple(self._metainfo.get("classes", ()))
        for classes in (everything, chosen):
            if len(classes) < 2 or classes[0] != "background":
                raise ValueError(
                    f"{type(self).__name__} needs `metainfo` with the classes "
                    f"'background' first and at least one more, got {classes}"
                )
            name, count = Counter(classes).most_common(1)[0]
            if count > 1:
                raise ValueError(
                    f"`metainfo` names class '{name}' {count} times: keep one"
                )
        return np.array([everything.index(name) - 1 for name in chosen[1:]])

    def _check_paths(self) -> None:
        """Refuses missing folders and splits; remote ones are left to MMEngine."""
        if self.backend_args is not None:
            return
        folders = {"data_root": self.data_root}
        folders.update(self.data_prefix)
        for key, folder in folders.items():
            if folder and "://" not in folder and not osp.isdir(folder):
                raise FileNotFoundError(
                    f"`{key}` {folder} is not a folder: put the data set there or "
                    "correct the config (docs/data.md)"
                )
        if self.ann_file and not osp.exists(self.ann_file):
            raise FileNotFoundError(
                f"split file `ann_file` {self.ann_file} does not exist: write it, an "
                "image name without suffix a line, or correct the config"
            )

    def _check_split_names(self) -> None:
        """Refuses a split that is no text or names what lies outside of the folder."""
        if not self.ann_file or osp.isdir(self.ann_file):
            return
        source = f"split file {self.ann_file}"
        try:
            lines = list_from_file(self.ann_file, backend_args=self.backend_args)
        except UnicodeDecodeError as error:
            raise ValueError(f"{source} is not UTF-8 text: {error}") from error
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                raise ValueError(f"{source}, line {number}, is empty: remove it")
            check_image_name(line.strip(), f"{source}, line {number},")

    def _check_names(self, names: list[str]) -> None:
        """Refuses a split that is empty or repeats a name."""
        source = self.ann_file or self.data_prefix.get("img_path", "")
        if not names:
            raise ValueError(
                f"{source} holds no image (suffix '{self.img_suffix}'): correct "
                "`ann_file`, `img_path` or `img_suffix`"
            )
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise ValueError(
                f"split file {source} names image '{name}' {count} times: keep one line"
            )

    def _check_mask(self, info: dict, sample: SegDataSample) -> None:
        """Refuses a mask of another size than the image, or with unknown ids."""
        path, size = info["seg_map_path"], sample.get("ori_shape")
        # The file itself: MMSegmentation has cut its values down to 8 bits, and a
        # pipeline that resizes may have given another size.
        height, width = read_mask(path, self.backend_args).shape
        if size is not None and (height, width) != tuple(size[:2]):
            raise ValueError(
                f"mask {path} is {width} x {height} pixels, its image "
                f"{info['img_path']} {size[1]} x {size[0]}"
            )
        mask = sample.gt_sem_seg.data
        last = len(self._metainfo["classes"]) - 1
        unknown = mask[(mask > last) & (mask != IGNORE_INDEX)]
        if unknown.numel():
            raise ValueError(
                f"mask {path} has the ids {unknown.unique().tolist()}: expected those "
                f"of the classes, 0 to {last}, and {IGNORE_INDEX} where not scored"
            )

    def _leave_out(self, idx: int, fault: Exception) -> None:
        """Counts a bad image, named when it is new; stops if they are too many."""
        if self.bad_images.add(idx):
            print_log(f"bad image left out: {fault}", "current", logging.WARNING)
        bad, total = self.bad_images.indices(), len(self)
        if len(bad) / total <= self.max_bad_share and len(bad) < total:
            return
        names = ", ".join(self.get_data_info(index)["img_path"] for index in bad[:5])
        if len(bad) > 5:
            names += f" and {len(bad) - 5} more"
        raise RuntimeError(
            f"{len(bad)} of {total} images are bad, more than on_bad_image='skip' may "
            f"leave out with max_bad_share={self.max_bad_share}: {names}. The log "
            "says what is wrong with each. Replace the files or take them out "
            f"of {self.ann_file or self.data_prefix.get('img_path')}; or, if training "
            "can do without them, raise max_bad_share"
        ) from fault

    def _image_fault(self, info: dict, error: Exception) -> Exception | None:
        """An error that names the image, if an error of the pipeline is its fault."""
        path = info["img_path"]
        fault = self._file_fault("image", path)
        if fault is None and isinstance(error, OSError) and "img" not in info:
            fault = OSError(
                f"image {path} could not be read ({error}), but could when tried "
                "again: check the disk or network that it comes from"
            )
        return fault

    def _file_fault(self, kind: str, path: str) -> Exception | None:
        """An error that names the file, if it cannot be read."""
        if not fileio.exists(path, self.backend_args):
            return FileNotFoundError(
                f"{kind} {path} does not exist: add it or remove its name from "
                f"{self.ann_file or 'the label file'}"
            )
        try:
            content = fileio.get(path, self.backend_args)
            # Colours are turned as EXIF data say, which may be damaged themselves.
            flag = "color" if kind == "image" else "unchanged"
            # Pillow, as OpenCV passes a truncated photograph as a grey one.
            with pixel_limit(self.max_pixels):
                mmcv.imfrombytes(content, flag=flag, backend="pillow")
        except Image.DecompressionBombError as broken:
            return ValueError(
                f"{kind} {path} has too many pixels ({broken}): if it is what it "
                f"should be, raise the data set's `max_pixels`, {self.max_pixels}"
            )
        except Exception as broken:
            return ValueError(
                f"{kind} {path} cannot be decoded ({broken}): replace the file or "
                f"remove its name from {self.ann_file or 'the label file'}"
            )
        return None
