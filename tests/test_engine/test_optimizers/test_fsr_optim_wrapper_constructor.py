import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch import nn

from tests.support.project_files import CONFIGS
from tests.support.tiny_segmentor import build_tiny

SCHEDULES = CONFIGS / "_base_" / "schedules"


def build(model, **kwargs):
    cfg = dict(
        type="OptimWrapper",
        constructor="FSROptimWrapperConstructor",
        optimizer=dict(type="AdamW", lr=0.5, betas=(0.9, 0.999), weight_decay=0.05),
    )
    return build_optim_wrapper(model, cfg | kwargs).optimizer


def small():
    return nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2)))


def groups_of(optimizer, model):
    """(rate, decay) by the name of the parameter."""
    names = {id(param): name for name, param in model.named_parameters()}
    found = {}
    for group in optimizer.param_groups:
        for param in group["params"]:
            name = names[id(param)]
            assert name not in found
            found[name] = (group["lr"], group["weight_decay"])
    return found


@pytest.mark.parametrize("paramwise", [dict(), dict(paramwise_cfg=dict())])
def test_groups_of_the_segmentor(paramwise):
    model = build_tiny()
    optimizer = build(model, **paramwise)
    found = groups_of(optimizer, model)
    assert found.keys() == {k for k, p in model.named_parameters() if p.requires_grad}
    assert not any(name.startswith("teacher.") for name in found)
    for name, (lr, decay) in found.items():
        assert lr == (0.5 if name.startswith("backbone.") else 5.0), name
        param = model.get_parameter(name)
        tokens = ("pos_embed", "cls_token", "mask_token")
        free = param.ndim == 1 or name.endswith(tokens)
        assert decay == (0.0 if free else 0.05), name
    assert len(optimizer.param_groups) == 4
    assert found["backbone.mask_token"] == (0.5, 0)
    assert found["decode_head.conv_seg.weight"] == (5, 0.05)


def test_a_config_s_settings_make_plain_groups_that_train():
    model = small()
    model["backbone"].bias.requires_grad_(False)
    optimizer = build(
        model,
        optimizer=ConfigDict(type="SGD", lr=0.5, weight_decay=0.05),
        paramwise_cfg=dict(head_lr_mult=3, no_decay_keys=("head.weight",)),
    )
    assert groups_of(optimizer, model) == {
        "backbone.weight": (0.5, 0.05),
        "head.weight": (1.5, 0),
        "head.bias": (1.5, 0),
    }
    # As torch makes them; it compiles no step of others.
    assert {type(group) for group in optimizer.param_groups} == {dict}
    before = {name: value.clone() for name, value in model.named_parameters()}
    model["head"](model["backbone"](torch.ones(1, 2))).sum().backward()
    optimizer.step()
    kept = [k for k, v in model.named_parameters() if torch.equal(v, before[k])]
    assert kept == ["backbone.bias"]


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_neck_learns_as_the_heads(wrapped):
    backbone = nn.ModuleDict(dict(neck=nn.Linear(2, 2), layer=nn.Linear(2, 2)))
    if wrapped:
        backbone = nn.ModuleDict(dict(backbone=backbone))
    model = nn.ModuleDict(dict(backbone=backbone))
    expected = {"neck.weight": (5, 0.05), "neck.bias": (5, 0)}
    expected |= {"layer.weight": (0.5, 0.05), "layer.bias": (0.5, 0)}
    prefix = "backbone." * (1 + wrapped)
    found = groups_of(build(model), model)
    assert found == {prefix + name: group for name, group in expected.items()}


def test_position_biases_of_windows_do_not_decay():
    model = nn.ModuleDict(dict(backbone=nn.Module()))
    model["backbone"].relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
    assert set(groups_of(build(model), model).values()) == {(0.5, 0)}


def test_refuses_unknown_settings_and_a_missing_rate():
    with pytest.raises(ValueError, match=r"paramwise_cfg has \['bias_lr_mult'\]"):
        build(small(), paramwise_cfg=dict(bias_lr_mult=2))
    with pytest.raises(ValueError, match=r"optimizer\.lr is missing"):
        build(small(), optimizer=dict(type="AdamW"))


@pytest.mark.parametrize("name", ["schedule_20k", "schedule_80k"])
def test_reference_schedule(golden, name):
    expected = golden["schedule/lr"].tolist()
    cfg = Config.fromfile(SCHEDULES / f"{name}.py")
    assert cfg.optim_wrapper.optimizer.lr == max(expected)
    assert cfg.optim_wrapper.paramwise_cfg.head_lr_mult == 10
    model = small()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    # The numbers of the paper's schedule shortened to those of the arrays.
    shortened = {20000: len(expected), 80000: len(expected), 1501: 16, 1500: 15}
    schedulers = []
    for scheduler in cfg.param_scheduler:
        for key in ("begin", "end"):
            scheduler[key] = shortened.get(scheduler[key], scheduler[key])
        schedulers.append(
            PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer))
        )
    assert (schedulers[0].begin, schedulers[0].end) == (0, 16)
    assert (schedulers[1].begin, schedulers[1].end) == (15, len(expected))
    backbone = [id(param) for param in model["backbone"].parameters()]
    for step, rate in enumerate(expected):
        for group in optimizer.param_groups:
            factor = 1 if id(group["params"][0]) in backbone else 10
            expected_rate = pytest.approx(factor * rate, rel=1e-9, abs=1e-15)
            assert group["lr"] == expected_rate, step
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
