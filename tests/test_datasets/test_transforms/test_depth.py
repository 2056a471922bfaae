"""The table of files is in test_two_readings.py; here are arrays and settings."""

import io

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from mmengine.dataset import Compose
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_fsr.datasets import ScaleTo8Bit
from tests.support.picture_files import COLOURS, DEEP, GREY

BGR = COLOURS[..., ::-1]
SHARES = (BGR / 255).astype(np.float32)


def scaled(image, **settings):
    return ScaleTo8Bit(**settings)(dict(img=image, img_path=None))["img"]


@pytest.mark.parametrize(
    ("image", "settings", "expected"),
    [
        (BGR, {}, BGR),
        (BGR, dict(pixel_range=(0, 1)), BGR),
        (GREY, {}, np.dstack([GREY] * 3)),
        (GREY[..., None], {}, np.dstack([GREY] * 3)),
        (SHARES, dict(pixel_range=(0, 1)), BGR),
        (BGR.astype(np.float64), dict(pixel_range=(0, 255)), BGR),
        (BGR.astype(np.uint16) * 257, dict(pixel_range=(0, 65535)), BGR),
        (GREY.astype(np.int64), dict(pixel_range=(0, 255)), np.dstack([GREY] * 3)),
    ],
)
def test_arrays(image, settings, expected):
    got = scaled(image, **settings)
    assert got.dtype == np.uint8
    assert np.array_equal(got, expected)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (SHARES, r"has float32 pixels from 0.0 to 0.97.*uint8, .*255 \* image"),
        (DEEP, r"has uint16 pixels from 21 to 4084: .*pixel_range"),
        (GREY.astype(np.int64), r"has int64 pixels .*; image\.round\(\)\.astype"),
        (BGR.astype(np.float32), r"float32 pixels .*; image\.round\(\)\.astype"),
        (GREY > 9, r"has bool pixels from False to True: expected uint8"),
        (GREY.astype(complex), r"has complex128 pixels .*: expected uint8"),
        (BGR.transpose(2, 0, 1), r"shape \(3, 6, 9\).*transpose\(1, 2, 0\)"),
        (np.dstack([BGR, GREY]), r"shape \(6, 9, 4\).*\[\.\.\., :3\]"),
        (BGR[None], r"shape \(1, 6, 9, 3\): expected \(height, width, 3\), BGR"),
        (BGR[:0], r"shape \(0, 9, 3\): expected"),
        (np.zeros((), np.uint8), r"shape \(\): expected"),
    ],
)
def test_other_arrays_are_refused(image, message):
    with pytest.raises(ValueError, match=message):
        scaled(image)


def test_the_steps_own_range_holds_before_the_items():
    results = dict(img=SHARES, img_path=None, pixel_range=(0, 100))
    got = ScaleTo8Bit(pixel_range=(0, 1))(results)["img"]
    assert np.array_equal(got, BGR)


def test_floats_of_8_bit_files_stay(tmp_path):
    path = str(tmp_path / "it.png")
    Image.fromarray(COLOURS).save(path)
    load = LoadImageFromFile(to_float32=True, imdecode_backend="pillow")
    got = ScaleTo8Bit()(load(dict(img_path=path)))["img"]
    assert np.array_equal(got, BGR.astype(np.float32))


def test_a_remote_jpeg_is_read_once(monkeypatch):
    files, reads = {}, []
    for name, pixels in (("a.jpg", COLOURS), ("b.png", COLOURS), ("c.png", DEEP)):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, name[-3:].replace("jpg", "jpeg"))
        files[f"https://host/{name}"] = content.getvalue()

    def get(backend, path):
        reads.append(path)
        return files[path]

    monkeypatch.setattr(fileio.HTTPBackend, "get", get)
    pipeline = Compose(
        [
            dict(type="LoadImageFromFile", imdecode_backend="pillow"),
            dict(type="ScaleTo8Bit", pixel_range=(0, 4095)),
        ]
    )
    images = [pipeline(dict(img_path=path))["img"] for path in files]
    assert [path[-5] for path in reads] == ["a", "b", "b", "c", "c"]
    expected = np.round(DEEP / 4095 * 255)
    assert np.array_equal(images[1], BGR)
    assert np.array_equal(images[2], np.dstack([expected] * 3))


@pytest.mark.parametrize("pixel_range", [(1, 0), "1%"])
def test_a_wrong_range_ends_before_any_image_is_read(voc_root, pixel_range):
    with pytest.raises(ValueError, match=r"pixel_range=.*expected"):
        ScaleTo8Bit(pixel_range)
    with pytest.raises(ValueError, match=r"pixel_range=.*expected"):
        DATASETS.build(
            dict(
                type="ImageLabelDataset",
                data_root=str(voc_root),
                data_prefix=dict(img_path="JPEGImages"),
                metainfo=dict(classes=("background", "a"), pixel_range=pixel_range),
                pipeline=[],
                test_mode=True,
            )
        )
