import pytest
from mmengine.config import Config

from mmseg_fsr.checkpoints.supervision import KNOWN_WEIGHTS, supervision
from tests.support.project_files import ROOT, load_config


def config(dataset, model):
    return Config(dict(train_dataloader=dict(dataset=dataset), model=model))


def pretrained(checkpoint, **kwargs):
    return dict(init_cfg=dict(type="Pretrained", checkpoint=checkpoint, **kwargs))


MASKS = dict(
    type="BaseSegDataset",
    data_root="data/a",
    data_prefix=dict(img_path="i", seg_map_path="m"),
    pipeline=[dict(type="MultiView", transforms=[[dict(type="LoadAnnotations")]])],
)
LABELS = dict(
    type="ImageFolderDataset",
    data_prefix=dict(img_path="photographs"),
    pipeline=[dict(type="PackImageLabelSegInputs")],
)


@pytest.mark.parametrize(
    ("dataset", "lines"),
    [
        (MASKS, ["BaseSegDataset in data/a: masks of m"]),
        (LABELS, ["ImageFolderDataset in photographs: image labels"]),
        (
            dict(
                type="RepeatDataset",
                dataset=dict(type="ConcatDataset", datasets=[LABELS, MASKS, LABELS]),
            ),
            [
                "ImageFolderDataset in photographs: image labels",
                "BaseSegDataset in data/a: masks of m",
            ],
        ),
    ],
)
def test_labels_of_the_training_data(dataset, lines):
    assert supervision(config(dataset, {})) == lines


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (
            pretrained("pretrain/resnet50-0676ba61.pth"),
            "pretrain/resnet50-0676ba61.pth: ImageNet-1k labels, licence BSD-3-Clause",
        ),
        (pretrained("own.pth"), "own.pth: not stated (init_cfg.supervision)"),
        (pretrained("own.pth", supervision="masks"), "own.pth: masks"),
        (
            pretrained("own.pth", supervision="captions", licence="MIT"),
            "own.pth: captions, licence MIT",
        ),
        (
            dict(type="mmpretrain.TIMMBackbone", model_name="vit", pretrained=True),
            "timm's vit: not stated (init_cfg.supervision)",
        ),
    ],
)
def test_pretrained_networks_wherever_they_are(network, line):
    model = dict(backbone=dict(init_cfg=None), parts=[dict(source=network)])
    assert supervision(config(LABELS, model))[1:] == [line]


def test_known_weights_are_those_of_the_page():
    text = (ROOT / "docs/pretrained_weights.md").read_text(encoding="utf-8")
    for file in KNOWN_WEIGHTS:
        assert f"`{file}`" in text


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("fsr_vit-t_scenes", ["ImageLabelDataset in data/scenes/: image labels"]),
        (
            "fsr_r50_voc",
            [
                "VOCImageLabelDataset in data/VOCdevkit/VOC2012/: image labels",
                "pretrain/resnet50-0676ba61.pth: ImageNet-1k labels, "
                "licence BSD-3-Clause",
            ],
        ),
    ],
)
def test_configs_say_theirs(monkeypatch, name, lines):
    for variable in ("FSR_R50", "VOC_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    assert supervision(load_config(name)) == lines
