import re
import shlex
import sys

import pytest
import torch
from mmengine.config import Config, ConfigDict, DictAction
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS
from torch import nn

from mmseg_fsr.checkpoints import network_config as module
from mmseg_fsr.checkpoints.network_config import (
    check_network,
    network_config,
    network_differences,
    stored_network_config,
)
from tests.support.project_files import CONFIGS
from tests.support.tiny_segmentor import (
    NUM_CLASSES,
    build_tiny,
    evaluation_samples,
    tiny_cfg,
)

IMAGE = torch.randint(0, 255, (3, 32, 48), dtype=torch.uint8)


@pytest.fixture(scope="module")
def weights():
    torch.manual_seed(0)
    return build_tiny().state_dict()


@pytest.fixture
def lines(monkeypatch):
    lines = []
    monkeypatch.setattr(module, "print_log", lambda text, *_: lines.append(text))
    return lines


def changed(key, value):
    cfg = Config(dict(model=tiny_cfg()))
    cfg.merge_from_dict({f"model.{key}": value})
    return cfg.model


def logits(cfg, weights):
    """What a network gives of these weights, by a config with the changes of a user."""
    model = MODELS.build(ConfigDict(cfg)).eval()
    model.load_state_dict(weights)
    (sample,) = evaluation_samples(1)
    batch = pseudo_collate([dict(inputs=IMAGE, data_samples=sample)])
    return model.test_step(batch)[0].seg_logits.data


def keys_of(ours, theirs):
    found = network_differences(network_config(ours), network_config(theirs))
    return [difference.key for difference in found]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone.norm_cfg", dict(type="LN", eps=0.1)),
        ("backbone.layer_cfgs", dict(act_cfg=dict(type="ReLU"))),
        ("backbone.pre_norm", False),
        ("backbone.arch.num_heads", 4),
        ("decode_head.dilation", 3),
        ("decode_head.act_cfg", dict(type="LeakyReLU")),
        ("decode_head.in_index", 0),
        # NUM_CLASSES and the background: what None stands for.
        ("decode_head.out_channels", NUM_CLASSES + 1),
        ("decode_head.out_channels", None),
        ("decode_head.threshold", 0.4),
        ("data_preprocessor.mean", [0.0, 0.0, 0.0]),
        ("data_preprocessor.std", [1.0, 1.0, 1.0]),
        ("data_preprocessor.bgr_to_rgb", False),
    ],
)
def test_what_changes_the_outputs_is_found_and_what_does_not_is_not(
    key, value, weights
):
    ours, theirs = tiny_cfg(), changed(key, value)
    same = torch.equal(logits(ours, weights), logits(theirs, weights))
    for pair in ((ours, theirs), (theirs, ours)):
        keys = keys_of(*pair)
        assert (keys == []) == same
        assert all(found.startswith(f"model.{key}") for found in keys)


def test_one_output_is_another_network_and_its_threshold_counts():
    two, one, given, other = (
        changed("decode_head", dict(num_classes=2, **outputs))
        for outputs in (
            dict(out_channels=2),
            dict(out_channels=1),
            dict(out_channels=1, threshold=0.3),
            dict(out_channels=1, threshold=0.5),
        )
    )
    assert keys_of(one, given) == keys_of(given, one) == []
    assert keys_of(two, one) == ["model.decode_head.out_channels"]
    assert keys_of(one, other) == ["model.decode_head.threshold"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("backbone.drop_path_rate", 0.3),
        ("backbone.with_cp", True),
        ("backbone.frozen_stages", 1),
        ("backbone.out_indices", [-2, -1]),
        ("backbone.type", "mmseg.FSRViT"),
        # The class's own defaults.
        ("backbone.norm_cfg", dict(type="LN", eps=1e-6)),
        ("decode_head.align_corners", False),
        ("decode_head.act_cfg", dict(type="ReLU")),
        ("decode_head.dropout_ratio", 0.5),
        ("decode_head.loss_decode.loss_weight", 7),
        ("cam_head.loss_weight", 7),
        ("affinity_head", None),
        ("distill_head.out_channels", 9),
        ("mask_generator.strategy", "random"),
        ("pseudo_label_generator.low_thr", 0.1),
        ("data_preprocessor.type", "SegDataPreProcessor"),
        ("data_preprocessor.size", (32, 32)),
        ("test_cfg.cams", True),
        ("neck", None),
    ],
)
def test_what_concerns_training_alone_is_no_difference(key, value):
    ours, theirs = tiny_cfg(), changed(key, value)
    assert keys_of(ours, theirs) == keys_of(theirs, ours) == []


RESNET = dict(
    type="ResNet",
    depth=50,
    strides=(1, 2, 2, 1),
    dilations=(1, 1, 1, 2),
    out_indices=(2, 3),
    norm_cfg=dict(type="BN", requires_grad=False),
)


def wrapped(**changes):
    changes = {k.replace("__", "."): v for k, v in changes.items()}
    neck = dict(type="MultiLevelNeck", in_channels=[4, 8], scales=[1, 2])
    backbone = dict(type="FSRBackbone", backbone=RESNET, neck=neck)
    cfg = Config(dict(model=dict(type="WeakSegmentor", backbone=backbone)))
    cfg.merge_from_dict({f"model.backbone.{k}": v for k, v in changes.items()})
    return cfg.model


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        (dict(backbone__style="caffe"), ["backbone.style"]),
        (dict(backbone__style="pytorch"), []),
        (dict(backbone__norm_cfg__type="SyncBN"), []),
        (dict(backbone__norm_cfg__type=nn.BatchNorm2d), ["backbone.norm_cfg.type"]),
        (dict(backbone__norm_cfg__eps=1e-3), ["backbone.norm_cfg.eps"]),
        (dict(backbone__norm_cfg__eps=1e-5), []),
        (dict(backbone__norm_cfg=dict(type="GN")), ["backbone.norm_cfg.type"]),
        (dict(backbone__dilations=(1, 1, 2, 2)), ["backbone.dilations"]),
        (
            dict(backbone__strides=(1, 2, 1, 1), backbone__out_indices=(1, 3)),
            ["backbone.out_indices", "backbone.strides"],
        ),
        (dict(neck__scales=[1, 4]), ["neck.scales"]),
        (dict(neck=None), ["neck"]),
        (dict(neck__size=3), ["neck.size"]),
        # Cells masked in the patch embedding, as for DINOv2, or in the pixels.
        (dict(masking="tokens"), ["masking"]),
        (dict(masking="pixels"), []),
        (dict(aux_index=-2, feat_index=0), ["feat_index"]),
        # What nobody knows is compared rather than missed.
        (dict(backbone__of_tomorrow=1), ["backbone.of_tomorrow"]),
        # Of another class the keys have another meaning.
        (dict(backbone__type="mmpretrain.ResNeXt"), ["backbone.type"]),
    ],
)
def test_a_wrapped_backbone(changes, keys):
    expected = [f"model.backbone.{key}" for key in keys]
    assert keys_of(wrapped(), wrapped(**changes)) == expected
    assert keys_of(wrapped(**changes), wrapped()) == expected


def test_heads_of_one_side_alone_change_no_other_part():
    head = dict(type="FCNHead", num_convs=2)
    ours = network_config(dict(backbone=RESNET, decode_head=head))
    theirs = ours | dict(cam_head=dict(type="CAMHead"))
    assert network_differences(ours, theirs) == network_differences(theirs, ours) == []
    more = theirs | dict(neck=dict(type="FPN"))
    assert [x.key for x in network_differences(ours, more)] == ["model.neck"]


def test_heads_in_a_row():
    heads = [dict(type="FCNHead", num_convs=number) for number in (1, 2)]
    ours, theirs = dict(decode_head=heads), dict(decode_head=[heads[0]] * 2)
    assert keys_of(ours, theirs) == ["model.decode_head.1.num_convs"]
    assert keys_of(ours, dict(decode_head=heads[:1])) == ["model.decode_head"]


def test_what_training_published_and_tests_hold_is_the_same():
    cfg = Config.fromfile(CONFIGS / "fsr_convnext-t_voc.py")
    trained = stored_network_config(dict(cfg=cfg.pretty_text))
    assert stored_network_config(dict(network=trained)) == trained
    augmented = dict(type="FSRTTAModel", module=cfg.model)
    assert network_config(augmented) == trained == network_config(cfg.model)
    assert "ConvNeXt" in str(trained)
    assert not re.search("loss|init_cfg|pretrain/|drop", str(trained))


def test_the_runners_data_preprocessor_is_the_models():
    preprocessor = dict(type="SegDataPreProcessor", mean=[1.0, 2, 3])
    beside = Config(dict(model=wrapped(), data_preprocessor=preprocessor))
    within = Config(dict(model=wrapped() | dict(data_preprocessor=preprocessor)))
    check_network(within, dict(cfg=beside.pretty_text))
    check_network(beside, dict(cfg=within.pretty_text))
    with pytest.raises(ValueError, match=r"model\.data_preprocessor: not set in"):
        check_network(within, dict(cfg=Config(dict(model=wrapped())).pretty_text))


def test_the_remedy_of_the_message_is_one(monkeypatch):
    monkeypatch.delenv("FSR_R50_STYLE", raising=False)
    path = CONFIGS / "fsr_r50_voc.py"
    given = {
        "model.backbone.backbone.style": "caffe",
        "model.data_preprocessor.mean": [103.5, 116.0, 123.0],
        "model.decode_head.act_cfg": dict(type="GELU"),
        "model.decode_head.align_corners": True,
    }
    trained = Config.fromfile(path)
    trained.merge_from_dict(given)
    trained.model.decode_head.act_cfg = ConfigDict(type="LeakyReLU", negative_slope=0.3)
    meta = dict(cfg=trained.pretty_text)
    cfg = Config.fromfile(path)
    cfg.model.decode_head.act_cfg = dict(type="LeakyReLU")
    with pytest.raises(ValueError, match="belong to another network") as error:
        check_network(cfg, meta)
    text = str(error.value)
    assert "mean: [103.5, 116.0, 123.0] in the checkpoint, [123.675," in text
    assert "align_corners: True in the checkpoint, False in the config" in text
    assert "or set FSR_R50_STYLE=caffe in the environment" in text
    options = shlex.split(re.search(r"--cfg-options (.*), or set", text)[1])
    assert len(options) == 4
    for option in options:
        key, value = option.split("=", 1)
        cfg.merge_from_dict({key: DictAction._parse_iterable(value)})
    check_network(cfg, meta)

    # The variable alone is enough for the style.
    monkeypatch.setenv("FSR_R50_STYLE", "caffe")
    with pytest.raises(ValueError, match="another network") as error:
        check_network(Config.fromfile(path), meta)
    assert "style" not in str(error.value)


@pytest.mark.parametrize("meta", [None, 3, {}, dict(cfg=3), dict(cfg="a = 1")])
def test_without_a_config_a_line_says_that_nothing_is_compared(lines, meta):
    check_network(Config(dict(model=wrapped())), meta)
    assert lines[0].startswith("the checkpoint holds no config: only the shapes")
    assert len(lines) == 1


def test_a_hostile_config_is_neither_run_nor_fatal(lines, tmp_path, monkeypatch):
    made = tmp_path / "made"
    cfg = Config(dict(model=wrapped()))
    run = f"model = dict(a=__import__('os').mkdir({str(made)!r}))"
    check_network(cfg, dict(cfg=run))
    assert "cannot be read as data, line 1: expected a value" in lines[0]
    # Nor is a class of it looked up: that would import its module.
    name = "module_of_a_stranger"
    (tmp_path / f"{name}.py").write_text(f"import os; os.mkdir({str(made)!r})")
    monkeypatch.syspath_prepend(tmp_path)
    foreign = dict(backbone=dict(type=f"{name}.Net", neck=dict(type=f"{name}.Neck")))
    for meta in (
        dict(cfg=Config(dict(model=foreign)).pretty_text),
        dict(network=foreign),
    ):
        with pytest.raises(
            ValueError, match=r"backbone\.type: 'Net' in the checkpoint"
        ):
            check_network(cfg, meta)
    assert name not in sys.modules
    assert not made.exists()


def test_many_and_long_differences_stay_readable():
    many = {f"key_{i}": "x" * 10**5 for i in range(10**3)}
    meta = dict(network=dict(backbone=RESNET | many))
    with pytest.raises(ValueError, match="and 980 more") as error:
        check_network(Config(dict(model=dict(backbone=RESNET))), meta)
    assert len(str(error.value)) < 10_000
