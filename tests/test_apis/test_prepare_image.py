import numpy as np
import pytest
import torch
from PIL import Image

from mmseg_fsr.apis import prepare_image
from tests.support.project_files import load_config
from tests.test_datasets.test_pixel_limit import huge_png


def pipeline():
    return load_config("fsr_vit-t_scenes").test_pipeline


def test_the_pipeline_without_its_mask(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    item = prepare_image(tmp_path / "a.png", pipeline())
    assert item["inputs"].shape == (3, 96, 96)
    sample = item["data_samples"]
    assert "gt_sem_seg" not in sample
    assert sample.ori_shape == (40, 60)
    assert sample.img_path == str(tmp_path / "a.png")
    from_array = prepare_image(pixels[..., ::-1].copy(), pipeline())
    assert torch.equal(from_array["inputs"], item["inputs"])


def test_a_file_of_too_many_pixels_is_named(tmp_path):
    path = tmp_path / "huge.png"
    path.write_bytes(huge_png(50_000))
    with pytest.raises(ValueError, match=r"huge\.png cannot be decoded \(Image size"):
        prepare_image(path, pipeline())
