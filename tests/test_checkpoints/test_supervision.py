import pytest
from mmengine.config import Config
from mmengine.model.weight_init import PretrainedInit
from mmseg.datasets.transforms import LoadAnnotations

from mmseg_fsr.checkpoints.supervision import KNOWN_WEIGHTS, supervision
from tests.support import pages
from tests.support.project_files import load_config


def config(dataset, model, **kwargs):
    return Config(dict(train_dataloader=dict(dataset=dataset), model=model, **kwargs))


def pretrained(checkpoint):
    return dict(init_cfg=dict(type="Pretrained", checkpoint=checkpoint))


def dataset(*steps, **kwargs):
    return dict(type="BaseSegDataset", pipeline=[dict(type=x) for x in steps], **kwargs)


VIEWS = dict(
    type="mmpretrain.MultiView", transforms=[[dict(type="mmseg.LoadAnnotations")]]
)
MASKS = dict(data_root="data/a", data_prefix=dict(img_path="i", seg_map_path="m"))
LABELS = dataset("PackImageLabelSegInputs", data_prefix=dict(img_path="photographs"))


@pytest.mark.parametrize(
    "given",
    [
        dataset("LoadAnnotations", "PackSegInputs", **MASKS),
        dataset("LoadBiomedicalAnnotation", "PackImageLabelSegInputs", **MASKS),
        dataset(LoadAnnotations, "PackMultiViewSegInputs", **MASKS),
        dataset("PackSegInputs", **MASKS),
        dataset(**MASKS),
        dataset("PackMultiViewSegInputs", **MASKS) | dict(pipeline=[VIEWS]),
    ],
)
def test_what_may_load_masks_is_never_said_to_be_image_labels(given):
    assert supervision(config(given, {})) == [
        "BaseSegDataset in data/a: label maps of m"
    ]


@pytest.mark.parametrize(
    "packer", ["PackMultiViewSegInputs", "PackImageLabelSegInputs"]
)
def test_image_labels(packer):
    lines = supervision(config(dataset("LoadImageFromFile", packer), {}))
    assert lines == ["BaseSegDataset: image labels"]


def test_data_sets_inside_of_others():
    inner = [LABELS, dataset("PackSegInputs"), LABELS]
    given = dict(type="RepeatDataset", dataset=dict(type="Concat", datasets=inner))
    assert supervision(config(given, {})) == [
        "BaseSegDataset in photographs: image labels",
        "BaseSegDataset: label maps of the data set",
    ]


TIMM = dict(type="mmpretrain.TIMMBackbone", model_name="vit")


@pytest.mark.parametrize(
    ("network", "line"),
    [
        (
            pretrained("pretrain/resnet50-0676ba61.pth"),
            "pretrain/resnet50-0676ba61.pth: ImageNet-1k labels, licence BSD-3-Clause",
        ),
        (pretrained("some/own.pth"), "some/own.pth: masks, licence MIT"),
        (dict(init_cfg=[pretrained("a.pth")["init_cfg"]]), "a.pth: not stated"),
        (
            dict(type="ResNet", pretrained="open-mmlab://r50"),
            "open-mmlab://r50: labels",
        ),
        (TIMM | dict(pretrained=True), "vit: not stated"),
        (TIMM | dict(checkpoint_path="b.pth"), "b.pth: not stated"),
        (
            dict(init_cfg=dict(type="mmengine.Pretrained", checkpoint="a.pth")),
            "a.pth: not stated",
        ),
        (
            dict(init_cfg=dict(type=PretrainedInit, checkpoint="a.pth")),
            "a.pth: not stated",
        ),
        (
            pretrained("https://x.org/own.pth?x=1"),
            "https://x.org/own.pth?x=1: masks, licence MIT",
        ),
        (pretrained("full/path.pth"), "full/path.pth: images"),
        (
            pretrained("pretrain/resnet101-63fe2227.pth"),
            "pretrain/resnet101-63fe2227.pth: ImageNet-1k labels, licence ours",
        ),
    ],
)
def test_pretrained_networks_wherever_they_are(network, line):
    model = dict(backbone=dict(init_cfg=None), parts=[dict(source=network)])
    said = {
        "own.pth": dict(supervision="masks", licence="MIT"),
        "r50": dict(supervision="labels"),
        "full/path.pth": dict(supervision="images"),
        "resnet101-63fe2227.pth": dict(licence="ours"),
    }
    assert supervision(config(LABELS, model, pretrained_weights=said))[1:] == [line]


@pytest.mark.parametrize("said", ["masks", dict(supervison="masks")])
def test_other_forms_of_what_is_said_are_refused(said):
    cfg = config(LABELS, pretrained("own.pth"), pretrained_weights={"own.pth": said})
    with pytest.raises(
        ValueError, match=r"for 'own\.pth': expected dict\(supervision="
    ):
        supervision(cfg)


def test_networks_without_weights_are_not_named():
    model = dict(backbone=dict(init_cfg=None, pretrained=None), head=TIMM)
    assert len(supervision(config(LABELS, model))) == 1


def test_known_weights_are_those_of_the_page():
    rows = pages.table("configs", "variable, file in `pretrain/`", "weights")
    files = {row[1].split("`")[3] for row in rows}
    assert files == KNOWN_WEIGHTS.keys()


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
