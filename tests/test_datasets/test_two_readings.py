"""One file is one array, whichever part of the project reads it."""

import copy

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmseg.registry import DATASETS
from PIL import Image, ImageOps

from mmseg_fsr.apis import prepare_image
from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.datasets.mask_file import read_mask
from tests.support import project_files
from tests.support.picture_files import DEEPER, EIGHT_BIT, IDS, MASKS, NO_MASKS

CONFIG = project_files.load_config("fsr_vit-b_1xb8_image-folder")
CLASSES = ("background", "object", "other")


def write(folder, kind, kinds):
    """A file of a kind, and its path."""
    suffix, writer, *_ = kinds[kind]
    folder.mkdir(exist_ok=True)
    writer(folder / f"it.{suffix}")
    return folder / f"it.{suffix}"


def loading_steps(name):
    """The steps of a pipeline up to the first that changes the picture's size."""
    load, scale = CONFIG[name][:2]
    assert (load.type, scale.type) == ("LoadImageFromFile", "ScaleTo8Bit")
    return [load.to_dict(), scale.to_dict()]


def by_data_set(name):
    def read(path, pixel_range):
        metainfo = dict(classes=CLASSES, pixel_range=pixel_range)
        dataset = DATASETS.build(
            dict(
                type="ImageLabelDataset",
                data_prefix=dict(img_path=str(path.parent)),
                img_suffix=path.suffix,
                metainfo=metainfo,
                pipeline=loading_steps(name),
                test_mode=True,
            )
        )
        return dataset[0]["img"][..., ::-1]

    return read


def by_inferencer(path, pixel_range):
    """As mmseg's inferencer changes the pipeline."""
    load, scale = loading_steps("test_pipeline")
    load["type"] = "InferencerLoader"
    scale["pixel_range"] = pixel_range
    return Compose([load, scale])(str(path))["img"][..., ::-1]


def by_inference(path, pixel_range):
    steps = loading_steps("test_pipeline")
    return prepare_image(path, steps, pixel_range)["img"][..., ::-1]


# `read_image` is for DenseCRF, panels, the report and attention.
READERS = {
    "training": by_data_set("train_pipeline"),
    "validation": by_data_set("test_pipeline"),
    "test-time augmentation": by_data_set("tta_pipeline"),
    "MMSegInferencer": by_inferencer,
    "inference_cams": by_inference,
    "read_image": read_image,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", EIGHT_BIT)
@pytest.mark.parametrize("pixel_range", [None, (0, 4095)])
def test_pictures_of_8_bits(tmp_path, kind, reader, pixel_range):
    path = write(tmp_path / "images", kind, EIGHT_BIT)
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode == "LA":
        ground = Image.new("RGB", image.size, (124, 117, 104))
        ground.paste(image.convert("RGB"), mask=image.getchannel("A"))
        image = ground
    expected = np.asarray(image.convert("RGB"))
    got = READERS[reader](path, pixel_range)
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", DEEPER)
def test_deeper_pictures(tmp_path, kind, reader):
    path = write(tmp_path / "images", kind, DEEPER)
    values = DEEPER[kind][2].astype(float)
    got = READERS[reader](path, (100, 4000))
    assert got.dtype == np.uint8
    expected = np.round(((values - 100) / 3900).clip(0, 1) * 255)
    colours = expected if values.ndim == 3 else np.dstack([expected] * 3)
    assert np.array_equal(got, colours)
    with pytest.raises(ValueError, match=rf"image {path} has .* pixel_range=\(\d"):
        READERS[reader](path, None)


# --------------------------------------------------------------------------- masks


def mask_of_data_set(tmp_path, path):
    """What validation scores against: the mask that the test pipeline loads."""
    images = tmp_path / "images"
    images.mkdir()
    Image.new("RGB", IDS.shape[::-1]).save(images / "it.jpg")
    dataset = copy.deepcopy(CONFIG.val_dataloader.dataset)
    dataset.update(
        data_root="",
        ann_file="",
        data_prefix=dict(img_path=str(images), seg_map_path=str(path.parent)),
        seg_map_suffix=path.suffix,
        metainfo=dict(classes=CLASSES),
    )
    (item,) = DATASETS.build(dataset)
    return item["data_samples"].gt_sem_seg.data[0].numpy()


@pytest.mark.parametrize("kind", MASKS)
def test_masks(tmp_path, kind):
    path = write(tmp_path / "masks", kind, MASKS)
    expected = IDS == 1 if kind == "1-bit PNG" else IDS
    assert np.array_equal(read_mask(path), expected)
    assert np.array_equal(mask_of_data_set(tmp_path, path), expected)


@pytest.mark.parametrize("kind", NO_MASKS)
def test_no_masks(tmp_path, kind):
    path = write(tmp_path / "masks", kind, NO_MASKS)
    for read in (read_mask, lambda path: mask_of_data_set(tmp_path, path)):
        with pytest.raises(ValueError, match=rf"mask {path} has .*expected"):
            read(path)
