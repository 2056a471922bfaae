"""What the docs say, tried: the config for one's own images, and the links."""

import json
import re

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from mmseg_fsr.datasets.mask_file import write_mask

from .project_files import CONFIGS, ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """The folder and the config that docs/data.md describes."""
    root = tmp_path / "data" / "pets"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in ("tom", "rex", "both"):
        image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(image).save(root / "images" / f"{name}.jpg")
    mask = np.zeros((40, 60), np.uint8)
    mask[:9], mask[9:20], mask[20:22] = 1, 2, 255
    write_mask(root / "masks" / "both.png", mask, [[0, 0, 0]])
    (root / "train.txt").write_text("tom\nrex\n")
    (root / "val.txt").write_text("both\n")
    labels = dict(tom=["cat"], rex=["dog"], both=["cat", "dog"])
    (root / "image_labels.json").write_text(json.dumps(labels))

    page = (ROOT / "docs" / "data.md").read_text()
    section = page.split("## Your own images")[1]
    (code, *_) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "fsr").symlink_to(CONFIGS)
    config = tmp_path / "configs" / "pets.py"
    config.write_text(code.replace("./fsr_vit-b_voc.py", "./fsr/fsr_vit-b_voc.py"))
    monkeypatch.chdir(tmp_path)
    return Config.fromfile(config)


def test_own_images_are_read_with_their_labels(pets):
    dataset = DATASETS.build(pets.train_dataloader.dataset)
    assert len(dataset) == 2
    for item, label in zip(dataset, ([1, 0], [0, 1]), strict=False):
        assert item["inputs"]["view1"].shape == (3, 448, 448)
        assert item["data_samples"].gt_label.label.tolist() == label
    (item,) = DATASETS.build(pets.val_dataloader.dataset)
    found = np.unique(item["data_samples"].gt_sem_seg.data)
    assert found.tolist() == [0, 1, 2, 255]
    assert pets.test_dataloader == pets.val_dataloader


@pytest.mark.slow
def test_the_model_for_own_images_has_their_classes(pets):
    model = MODELS.build(pets.model)
    assert model.num_classes == len(pets.metainfo.classes) == 3
    assert model.cam_head.num_classes == 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            anchors = {title.lower().replace(" ", "-") for title in titles}
            assert anchor in anchors, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_commands_name_are_there(page):
    named = re.findall(
        r"\b((?:tools|configs/fsr)/[\w./-]+\.(?:py|sh))", page.read_text()
    )
    missing = {name for name in named if not (ROOT / name).exists()}
    # The one that the reader is told to write.
    assert missing <= {"configs/fsr/fsr_pets.py"}
