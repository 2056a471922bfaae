"""Images with image-level class labels instead of masks."""

import logging
import os
import os.path as osp
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_fsr.utils.first_names import first_names
from mmseg_fsr.utils.label_ids import (
    IGNORE_INDEX,
    check_id_settings,
    check_num_foreground,
)
from mmseg_fsr.utils.pixel_range import check_pixel_range

from .bad_images import BadImages, TooManyBadImagesError
from .image_file import MAX_PIXELS, decode_file, deep_picture, pixel_limit
from .image_folder import (
    find_images,
    find_masks,
    is_elsewhere,
    list_images,
    names_in_folders,
)
from .label_file import read_image_labels
from .label_summary import summarize_labels
from .mask_file import check_mask, read_mask
from .split_file import (
    Suffix,
    all_suffixes,
    image_name,
    read_split,
    without_image_suffix,
)
from .transforms import ScaleTo8Bit


@DATASETS.register_module()
class ImageLabelDataset(BaseSegDataset):
    """Any folder of images with a label file.

    Classes and palette come from ``metainfo``, as in MMSegmentation; the first
    class is the background. Its ``pixel_range``, for images deeper than 8 bits, is
    that of :class:`ScaleTo8Bit`. Each item's ``data_info`` holds ``gt_label``, a
    float32 multi-hot array (K,) over the K foreground classes, -1 where nobody looked
    for a class. For training the log says what the labels amount to. Masks are only
    looked for where ``data_prefix`` has a ``seg_map_path``, and only loaded by the
    pipeline: validation needs them, training does not.

    Ids in the label file are those of the masks, 1..K over all classes of the data
    set. Where ``metainfo`` chooses some of a data set's ``METAINFO`` classes, labels
    of the others are dropped, as MMSegmentation drops their pixels.

    Args:
        ann_file: Split list, an image name without suffix a line; all images of
            the folder if empty, and a warning counts other files. Defaults to ''.
        label_file: Label file (see :mod:`mmseg_fsr.datasets.label_file`), relative
            to ``data_root``. May be None in ``test_mode`` only. Defaults to None.
        data_prefix: Folders of the images (``img_path``) and, for validation, of
            the masks (``seg_map_path``). Defaults to ``dict(img_path='')``.
        max_pixels: The most pixels that an image or mask may have; a file of a few
            kilobytes can declare any number. Holds where Pillow decodes, as in our
            configs. Defaults to 178956970, where Pillow raises an error by default; it
            warns from half of the limit on.
        on_bad_image: What to do in training with an image that is missing, cannot be
            read or decoded to its end, or has too many pixels: ``'raise'`` an error, at
            the start for what is missing, or ``'skip'`` it. Another image, drawn at
            random, then takes its place, and a warning names each skipped image once.
            All other errors are raised, those of masks too. Defaults to 'raise'.
        max_bad_share: The largest share of the data set's images, in 0..1, that
            ``'skip'`` may leave out. The workers of a data loader count together,
            each rank for itself, and a resumed run anew. Defaults to 0.01.
        img_suffix: The suffix of the images, or several; files may have it in either
            case. ``''`` if each name has its own. Where images have an address, the
            first alone. Defaults to None: any usual suffix, ``.jpg`` before others.
        **kwargs: Further arguments of ``BaseSegDataset``.

    Attributes:
        bad_images: The images left out so far, a :class:`BadImages`; None unless
            ``on_bad_image='skip'``. A subset or copy of the data set has its own.

    Raises:
        FileNotFoundError: If the data root, split, image folder or label file is
            missing, or an image for training, unless ``on_bad_image='skip'``.
        ValueError: If ``reduce_zero_label`` or an ``ignore_index`` but 255 is set,
            there are more than 254 foreground classes, ``data_prefix`` has an unknown
            key, the first class is not the background, the split or label
            file is wrong, ``max_pixels`` is not positive, ``on_bad_image`` is
            unknown or ``'skip'`` in ``test_mode``, ``max_bad_share`` is not in 0..1,
            ``img_suffix`` is no text or list of texts, or a pipeline lacks
            ``ScaleTo8Bit``, although there is a ``pixel_range``.
            :meth:`prepare_data` says what access to an item raises.

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
        ann_file: str | os.PathLike = "",
        label_file: str | os.PathLike | None = None,
        data_prefix: dict = dict(img_path=""),
        max_pixels: int = MAX_PIXELS,
        on_bad_image: str = "raise",
        max_bad_share: float = 0.01,
        img_suffix: Suffix = None,
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
        if not isinstance(img_suffix, str | None) and not (
            isinstance(img_suffix, Sequence)
            and img_suffix
            and all(isinstance(end, str) and end for end in img_suffix)
        ):
            raise ValueError(
                f"img_suffix={img_suffix!r}: expected a suffix, such as '.png', a list "
                "of suffixes, or None, which takes files of any usual suffix"
            )
        self.label_file = label_file if label_file is None else os.fspath(label_file)
        self.max_pixels = max_pixels
        self.on_bad_image = on_bad_image
        self.max_bad_share = max_bad_share
        self.bad_images: BadImages | None = None
        check_id_settings(
            type(self).__name__,
            kwargs.get("reduce_zero_label", False),
            kwargs.get("ignore_index", IGNORE_INDEX),
        )
        unknown = set(data_prefix) - {"img_path", "seg_map_path"}
        if unknown:
            raise ValueError(
                f"data_prefix has {sorted(unknown)}: expected img_path and, for "
                "validation, seg_map_path"
            )
        self._only_suffix = img_suffix
        if kwargs.get("data_root") is not None:
            kwargs["data_root"] = os.fspath(kwargs["data_root"])
        super().__init__(
            img_suffix=all_suffixes(img_suffix)[0],
            ann_file=os.fspath(ann_file),
            data_prefix={
                key: path if path is None else os.fspath(path)
                for key, path in data_prefix.items()
            },
            **kwargs,
        )

    def full_init(self) -> None:
        """Lists the images and counts bad ones from 0, unless that is done."""
        if not self._fully_initialized:
            super().full_init()
            self._reset_bad_images()

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keeps some of the items, as MMEngine's ``BaseDataset.get_subset_`` does."""
        super().get_subset_(indices)
        self._reset_bad_images()

    def get_subset(self, indices: Sequence[int] | int) -> "ImageLabelDataset":
        """A copy of some of the items, as of MMEngine's ``BaseDataset.get_subset``."""
        subset = super().get_subset(indices)
        subset._reset_bad_images()
        return subset

    def _reset_bad_images(self) -> None:
        """Counts anew, before workers start: they inherit the shared memory."""
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
        columns = self._label_columns()
        pixel_range = self._metainfo.get("pixel_range")
        check_pixel_range(pixel_range)
        if pixel_range is not None and self._loads_8_bits_alone():
            raise ValueError(
                f"pixel_range={pixel_range!r} of {type(self).__name__} is for "
                "ScaleTo8Bit, which the pipeline lacks: put dict(type='ScaleTo8Bit') "
                "after LoadImageFromFile"
            )
        self._check_folders()
        images = self._listed_images()
        names = list(images)
        shared = dict(
            label_map=self.label_map, reduce_zero_label=self.reduce_zero_label
        )
        if pixel_range is not None:
            shared["pixel_range"] = pixel_range
        data_list = [
            dict(img_path=path, seg_fields=[], **shared) for path in images.values()
        ]
        if self.data_prefix.get("seg_map_path") is not None:
            for info, path in zip(data_list, self._mask_paths(names), strict=True):
                info["seg_map_path"] = path
        if self.label_file is not None:
            if not self.ann_file and self.label_file.endswith(".npy"):
                raise ValueError(
                    f"label file {self.label_file} has no names, and without ann_file "
                    "nothing says which image a row belongs to: give the list of "
                    "images as ann_file, or another kind of label file"
                )
            labels, others = read_image_labels(
                self.label_file, names, self._all_classes()
            )
            labels = labels[:, columns]
            for info, label in zip(data_list, labels, strict=True):
                info["gt_label"] = label
            if not self.test_mode:
                self._summarize(labels, names, others)
                self._warn_of_unlearnable(labels)
        elif not self.test_mode:
            raise ValueError(
                f"{type(self).__name__} needs `label_file` for training (only "
                "validation, `test_mode=True`, goes without)"
            )
        return data_list

    def _summarize(
        self, labels: np.ndarray, names: list[str], others: list[str]
    ) -> None:
        """Logs what the labels (N, K) of a training split amount to.

        Names that the label file has and the split has not may be of another split.
        """
        folder = self.data_prefix.get("img_path", "")
        unpaired = {}
        if not is_elsewhere(folder, self.backend_args):
            suffix = self._only_suffix
            there = names_in_folders(folder, [*names, *others], suffix)
            # As the label file may write them.
            plain = {name: without_image_suffix(name, suffix) for name in others}
            unpaired = dict(
                without_image=[x for x in others if not {x, plain[x]} & there],
                without_labels=sorted(there - {*names, *others, *plain.values()}),
            )
        classes = self._metainfo["classes"][1:]
        print_log(
            summarize_labels(self.label_file, labels, classes, **unpaired), "current"
        )

    def _warn_of_unlearnable(self, labels: np.ndarray) -> None:
        """Names the classes that no image (N, K) of a training split has, or all."""
        classes, shown = self._metainfo["classes"], labels > 0
        for which, of_what, problem in (
            (~shown.any(0), "no image", "training cannot learn them"),
            (
                shown.all(0),
                "every image",
                "training needs some without them, or it cannot tell them from the "
                "background",
            ),
        ):
            names = [classes[k + 1] for k in np.flatnonzero(which)]
            if names:
                print_log(
                    f"label file {self.label_file} gives {of_what} of the split the "
                    f"classes {first_names(names)}: {problem}",
                    "current",
                    logging.WARNING,
                )

    def get_cat_ids(self, idx: int) -> list[int]:
        """Ids of the classes in an item's ``gt_label``, for ``ClassBalancedDataset``.

        Raises:
            ValueError: If the data set has no ``label_file``.
        """
        label = self.get_data_info(idx).get("gt_label")
        if label is None:
            raise ValueError(
                f"{type(self).__name__} without `label_file` knows no classes of its "
                "images, by which ClassBalancedDataset repeats them: give the file"
            )
        return (np.flatnonzero(label > 0) + 1).tolist()

    def prepare_data(self, idx: int) -> Any:
        """Runs the pipeline on an item; an error names the file that is at fault.

        Args:
            idx: Index of the item.

        Returns:
            What the pipeline returns, or None for a bad image that is left out.

        Raises:
            FileNotFoundError: If the image or the mask is missing.
            ValueError: If the image or the mask cannot be decoded or has too many
                pixels, the image is deeper than 8 bits without a ``pixel_range`` or
                ``ScaleTo8Bit``, or the mask is not one of class ids, or not of the
                image's size.
            OSError: If the image could not be read, but could when tried again.
            TooManyBadImagesError: If more than ``max_bad_share`` of the images, or
                all, are bad.
        """
        info = self.get_data_info(idx)
        image, mask = info["img_path"], info.get("seg_map_path")
        with pixel_limit(self.max_pixels):
            try:
                results = self.pipeline(info)
            except Exception as error:
                fault = self._image_fault(image, error, "img" in info)
                if fault is not None and self.bad_images is not None:
                    self._leave_out(idx, fault)
                    return None
                if fault is None and mask is not None:
                    fault = self._file_fault("mask", mask)
                if fault is None:
                    raise
                raise fault from error
            if self._loads_8_bits_alone():
                # It has an error for what is deeper.
                deep_picture(image, None, self.backend_args)
            if mask is not None:
                self._check_mask(mask, image, results)
        return results

    def _loads_8_bits_alone(self) -> bool:
        """Whether the pipeline would cut off deeper images: it has no ScaleTo8Bit."""
        load, *steps = self.pipeline.transforms or [None]
        return (
            isinstance(load, LoadImageFromFile)
            and load.color_type == "color"
            and not any(isinstance(step, ScaleTo8Bit) for step in steps)
        )

    def image_name(self, path: str) -> str:
        """The name of an item's ``img_path`` in the split and label files."""
        suffix = self._only_suffix
        return image_name(path, self.data_prefix.get("img_path", ""), suffix)

    def image_names(self) -> list[str]:
        """The names of all images, in the order of the items."""
        infos = (self.get_data_info(index) for index in range(len(self)))
        return [self.image_name(info["img_path"]) for info in infos]

    def mask_ids(self) -> list[int]:
        """The id that each class has in masks: its own unless classes are chosen."""
        return [0, *(int(column) + 1 for column in self._label_columns())]

    def _all_classes(self) -> tuple[str, ...]:
        """The classes that label files and masks count, before any choice."""
        return tuple(self.METAINFO.get("classes", self._metainfo.get("classes", ())))

    def _label_columns(self) -> np.ndarray:
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
        check_num_foreground(
            f"the classes of {type(self).__name__} (metainfo.classes)",
            len(everything) - 1,
        )
        return np.array([everything.index(name) - 1 for name in chosen[1:]])

    def _check_folders(self) -> None:
        """Refuses missing folders; remote ones are left to MMEngine."""
        if self.backend_args is not None:
            return
        for key, folder in {"data_root": self.data_root, **self.data_prefix}.items():
            if folder and "://" not in folder and not osp.isdir(folder):
                cure = "put the data set there or correct the config"
                if key == "seg_map_path":
                    cure = "put masks there, correct the config, or validate without"
                raise FileNotFoundError(
                    f"`{key}` {folder} is not a folder: {cure} (docs/own_data.md, "
                    "docs/data.md)"
                )

    def _listed_images(self) -> dict[str, str]:
        """Paths by name of the split's images, or of all in the folder."""
        folder = self.data_prefix.get("img_path", "")
        if not self.ann_file:
            return list_images(folder, self._only_suffix, self.backend_args)
        names = read_split(self.ann_file, self.backend_args)
        if is_elsewhere(folder, self.backend_args):
            return {name: osp.join(folder, name + self.img_suffix) for name in names}
        images, missing = find_images(folder, names, self._only_suffix, self.ann_file)
        if missing:
            # At the start, not when they are drawn.
            said = (
                f"image {missing[0]} does not exist: add it or remove its name from "
                f"{self.ann_file} ({len(missing)} of its {len(names)} images are "
                "missing)"
            )
            if self.on_bad_image == "raise" and not self.test_mode:
                raise FileNotFoundError(said)
            print_log(said, "current", logging.WARNING)
        return images

    def _mask_paths(self, names: list[str]) -> list[str]:
        """The path of each image's mask."""
        folder = self.data_prefix["seg_map_path"]
        if is_elsewhere(folder, self.backend_args):
            return [osp.join(folder, name + self.seg_map_suffix) for name in names]
        return find_masks(folder, names, self.seg_map_suffix)

    def _check_mask(self, path: str, image: str, results: Any) -> None:
        """Refuses a mask of another size than the image, or with unknown ids."""
        sample = results.get("data_samples") if isinstance(results, dict) else None
        # Test-time augmentation makes several samples of an image, with one mask.
        sample = sample[0] if isinstance(sample, list) else sample
        if not isinstance(sample, SegDataSample) or "gt_sem_seg" not in sample:
            return
        # The file is read again: MMSegmentation cuts its values down to 8 bits, and the
        # pipeline may have resized it.
        mask = read_mask(path, self.backend_args)
        num_classes = len(self._all_classes())
        size = sample.get("ori_shape", mask.shape)[:2]
        check_mask(mask, f"mask {path}", image, num_classes, size)

    def _leave_out(self, idx: int, fault: Exception) -> None:
        """Counts a bad image, named when it is new; stops if they are too many."""
        if self.bad_images.add(idx):
            print_log(f"bad image left out: {fault}", "current", logging.WARNING)
        bad, total = self.bad_images.indices(), len(self)
        if len(bad) / total <= self.max_bad_share and len(bad) < total:
            return
        names = first_names([self.get_data_info(index)["img_path"] for index in bad])
        raise TooManyBadImagesError(
            f"{len(bad)} of {total} images are bad, more than on_bad_image='skip' may "
            f"leave out with max_bad_share={self.max_bad_share}: {names}. The log "
            "says what is wrong with each. Replace the files or take them out "
            f"of {self.ann_file or self.data_prefix.get('img_path')}; or, if training "
            "can do without them, raise max_bad_share"
        ) from fault

    def _image_fault(
        self, path: str, error: Exception, was_loaded: bool
    ) -> Exception | None:
        """An error that names the image, if it caused the pipeline's error."""
        fault = self._file_fault("image", path)
        if fault is None and isinstance(error, OSError) and not was_loaded:
            fault = OSError(
                f"image {path} could not be read ({error}), but could when tried "
                "again: check the disk or network that it comes from"
            )
        return fault

    def _file_fault(self, kind: str, path: str) -> Exception | None:
        """An error that names the file, if it cannot be read."""
        # Reading colours turns an image by its EXIF data, which may be damaged too.
        flag = "color" if kind == "image" else "unchanged"
        source = self.ann_file or "the images: list the others as `ann_file`"
        try:
            decode_file(path, kind, flag, self.backend_args, source)
        except (OSError, ValueError) as fault:
            if isinstance(fault.__cause__, Image.DecompressionBombError):
                return ValueError(
                    f"{fault}: if it is what it should be, raise the data set's "
                    f"`max_pixels`, {self.max_pixels}"
                )
            return fault
        return None


def require_image_labels(settings: Mapping[str, Any], title: str) -> None:
    """Refuses settings of a data set that is no :class:`ImageLabelDataset`.

    Args:
        settings: The settings, with ``type``.
        title: Where they stand, for the error.

    Raises:
        ValueError: If it is neither that nor derived from it.
    """
    kind = DATASETS.get(settings["type"])
    if not (isinstance(kind, type) and issubclass(kind, ImageLabelDataset)):
        raise ValueError(
            f"{title} is a {settings['type']}: expected an ImageLabelDataset or one "
            "derived from it"
        )
