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
    assert found["backbone.aggregator.cls_token"] == (0.5, 0)
    assert found["backbone.pos_embed"] == (0.5, 0)
    assert found["decode_head.conv_seg.weight"] == (5, 0.05)
    assert found["distill_head.mlp.0.bias"] == (5, 0)


def test_groups_of_a_config_are_plain_dicts():
    """As torch makes them; it compiles no step of others."""
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    optimizer = build(model, optimizer=ConfigDict(type="SGD", lr=0.5))
    assert {type(group) for group in optimizer.param_groups} == {dict}


def test_settings():
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    optimizer = build(
        model, paramwise_cfg=dict(head_lr_mult=3, no_decay_keys=("head.weight",))
    )
    assert groups_of(optimizer, model) == {
        "backbone.weight": (0.5, 0.05),
        "backbone.bias": (0.5, 0),
        "head.weight": (1.5, 0),
        "head.bias": (1.5, 0),
    }


def test_a_neck_learns_as_the_heads():
    backbone = nn.ModuleDict(dict(neck=nn.Linear(2, 2), backbone=nn.Linear(2, 2)))
    model = nn.ModuleDict(dict(backbone=backbone))
    assert groups_of(build(model), model) == {
        "backbone.backbone.weight": (0.5, 0.05),
        "backbone.backbone.bias": (0.5, 0),
        "backbone.neck.weight": (5, 0.05),
        "backbone.neck.bias": (5, 0),
    }


def test_a_neck_of_a_wrapped_backbone_does_so_too():
    inner = nn.ModuleDict(dict(neck=nn.Linear(2, 2), backbone=nn.Linear(2, 2)))
    backbone = nn.ModuleDict(dict(backbone=inner))
    model = nn.ModuleDict(dict(backbone=backbone))
    found = groups_of(build(model), model)
    assert found["backbone.backbone.neck.weight"] == (5, 0.05)
    assert found["backbone.backbone.backbone.weight"] == (0.5, 0.05)


def test_position_biases_of_windows_do_not_decay():
    model = nn.ModuleDict(dict(backbone=nn.Module()))
    model["backbone"].relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
    assert set(groups_of(build(model), model).values()) == {(0.5, 0)}


def test_frozen_parameters_are_left_out():
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    model["backbone"].weight.requires_grad_(False)
    found = groups_of(build(model, paramwise_cfg=dict(head_lr_mult=1)), model)
    assert found.keys() == {"backbone.bias", "head.weight", "head.bias"}


def test_refuses_unknown_settings_and_a_missing_rate():
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"paramwise_cfg has \['bias_lr_mult'\]"):
        build(model, paramwise_cfg=dict(bias_lr_mult=2))
    with pytest.raises(ValueError, match=r"optimizer\.lr is missing"):
        build(
            model,
            optimizer=dict(type="AdamW"),
            paramwise_cfg=dict(head_lr_mult=1),
        )


def reference_length(steps):
    """The numbers of the paper's schedule shortened to those of the arrays."""
    return {20000: steps, 80000: steps, 1501: 16, 1500: 15}.get


@pytest.mark.parametrize("name", ["schedule_20k", "schedule_80k"])
def test_reference_schedule(golden, name):
    expected = golden["schedule/lr"].tolist()
    cfg = Config.fromfile(SCHEDULES / f"{name}.py")
    assert cfg.optim_wrapper.optimizer.lr == max(expected)
    assert cfg.optim_wrapper.paramwise_cfg.head_lr_mult == 10
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    shorten = reference_length(len(expected))
    schedulers = []
    for scheduler in cfg.param_scheduler:
        for key in ("begin", "end"):
            scheduler[key] = shorten(scheduler[key], scheduler[key])
        schedulers.append(
            PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer))
        )
    assert (schedulers[0].begin, schedulers[0].end) == (0, 16)
    assert (schedulers[1].begin, schedulers[1].end) == (15, len(expected))
    for step, rate in enumerate(expected):
        for group in optimizer.param_groups:
            backbone = model["backbone"].parameters()
            is_backbone = any(group["params"][0] is p for p in backbone)
            factor = 1 if is_backbone else 10
            assert group["lr"] == pytest.approx(factor * rate, rel=1e-9, abs=1e-15), (
                step
            )
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()


def test_no_gradient_is_lost():
    """A step moves every group's parameters."""
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), head=nn.Linear(2, 2)))
    optimizer = build(model, paramwise_cfg=dict(head_lr_mult=2))
    before = [p.clone() for p in model.parameters()]
    model["head"](model["backbone"](torch.ones(1, 2))).sum().backward()
    optimizer.step()
    for old, new in zip(before, model.parameters(), strict=True):
        assert not torch.equal(old, new)
