import logging
from types import SimpleNamespace

import pytest
import torch
from mmengine.dataset import (
    ConcatDataset,
    DefaultSampler,
    InfiniteSampler,
    RepeatDataset,
)
from mmengine.logging import MessageHub
from mmengine.optim import CosineAnnealingLR, OptimWrapper
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, ValLoop
from mmseg.datasets import BaseSegDataset
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS
from torch.utils.data import DataLoader

from mmseg_fsr.datasets import SeededInfiniteSampler
from mmseg_fsr.engine.hooks import SettingsCheckHook, settings_check_hook
from mmseg_fsr.engine.optimizers import BFloat16OptimWrapper
from mmseg_fsr.models.pseudo_labels import FeatureAffinity
from tests.support.timm_vit import COMMON


@DATASETS.register_module()
class ThreeItems(BaseSegDataset):
    METAINFO = dict(classes=("background", "cat"), palette=[[0] * 3, [1] * 3])

    def load_data_list(self):
        return [dict(img_path="x")] * 3


def loop_over(kind, dataset=None, sampler=None, **attributes):
    loop = object.__new__(kind)
    loop._dataloader = None
    loop.dataloader = SimpleNamespace(dataset=dataset or ThreeItems(), sampler=sampler)
    vars(loop).update(attributes)
    return loop


def before_run(train=None, val=None, schedulers=None, weak=True):
    model = SimpleNamespace(**(dict(cam_head=object()) if weak else {}))
    runner = SimpleNamespace(
        model=model,
        param_schedulers=schedulers,
        _train_loop=train,
        _val_loop=val,
        _test_loop=None,
    )
    SettingsCheckHook().before_run(runner)


def test_epochs_need_an_order_with_an_end():
    dataset = ThreeItems()
    for sampler in (SeededInfiniteSampler(dataset, seed=0), DefaultSampler(dataset)):
        loop = loop_over(EpochBasedTrainLoop, dataset, sampler, _max_epochs=2)
        if isinstance(sampler, DefaultSampler):
            before_run(loop)
            continue
        message = r"max_epochs=2, .*SeededInfiniteSampler.*type='IterBasedTrainLoop'"
        with pytest.raises(ValueError, match=message):
            before_run(loop)


@pytest.mark.parametrize("grouped", [False, True])
def test_schedules_count_what_the_loop_counts(grouped):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    loops = [
        loop_over(kind, _max_iters=40)
        for kind in (IterBasedTrainLoop, EpochBasedTrainLoop)
    ]
    for by_epoch in (False, True):
        schedulers = [CosineAnnealingLR(optimizer, T_max=4, by_epoch=by_epoch)]
        if grouped:
            schedulers = dict(head=schedulers)
        before_run(loops[1], schedulers=schedulers)
        if not by_epoch:
            before_run(loops[0], schedulers=schedulers)
            continue
        with pytest.raises(ValueError, match="CosineAnnealingLR counts epochs"):
            before_run(loops[0], schedulers=schedulers)


def training_runner(loop, model):
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1))
    return SimpleNamespace(
        train_loop=loop,
        model=model,
        optim_wrapper=wrapper,
        logger=logging.getLogger("unheard"),
        message_hub=MessageHub("unheard"),
    )


@pytest.mark.parametrize(("end", "warns"), [(40, False), (41, True), (10**9, False)])
def test_schedules_that_outlast_the_run_are_warned_of(monkeypatch, end, warns):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    scheduler = CosineAnnealingLR(optimizer, begin=5, end=end, by_epoch=False, T_max=9)
    said = []
    monkeypatch.setattr(
        settings_check_hook, "print_log", lambda text, **_: said.append(text)
    )
    before_run(loop_over(IterBasedTrainLoop, _max_iters=40), schedulers=[scheduler])
    warning = (
        f"CosineAnnealingLR goes from step 5 to {end}, but the run ends at step 40"
    )
    assert [warning in text for text in said] == [True] * warns


def test_a_checkpoint_within_an_epoch_is_not_resumed():
    def resume(epoch, step):
        loop = loop_over(EpochBasedTrainLoop, _epoch=epoch, _iter=step)
        sampler = InfiniteSampler(range(6))
        loop.dataloader = DataLoader(range(6), batch_size=2, sampler=sampler)
        runner = training_runner(loop, torch.nn.Identity())
        SettingsCheckHook().before_train(runner)

    resume(0, 0)
    resume(2, 6)
    with pytest.raises(ValueError, match=r"step 4 lies within an epoch, .* 3 steps"):
        resume(1, 4)


def test_frozen_networks_read_their_weights_before_the_first_step():
    init_cfg = dict(type="Pretrained", checkpoint="pretrain/lost.pth")
    backbone = dict(type="mmpretrain.VisionTransformer", init_cfg=init_cfg, **COMMON)
    source = dict(type="FrozenFeatures", backbone=backbone)
    loop = loop_over(IterBasedTrainLoop)
    loop.dataloader = DataLoader(range(6), batch_size=2)
    runner = training_runner(loop, FeatureAffinity(source=source))
    with pytest.raises(FileNotFoundError, match=r"pretrain/lost\.pth"):
        SettingsCheckHook().before_train(runner)


def test_it_looks_at_batch_norms_in_the_first_step_alone():
    model = torch.nn.ModuleDict(dict(head=torch.nn.BatchNorm1d(2)))
    sampler = InfiniteSampler(range(6))
    loop = loop_over(IterBasedTrainLoop)
    loop.dataloader = DataLoader(range(6), batch_size=1, sampler=sampler)
    runner = training_runner(loop, model)
    hook = SettingsCheckHook()
    hook.before_train(runner)
    with pytest.raises(ValueError, match=r"^model.head .* train_dataloader.batch_size"):
        model.head(torch.ones(1, 2))
    hook.after_train_iter(runner, 0)
    model.head(torch.ones(2, 2))
    assert not model.head._forward_pre_hooks


@pytest.mark.parametrize("wrap", [
    lambda dataset: dataset,
    lambda dataset: RepeatDataset(dataset, times=2),
    lambda dataset: ConcatDataset([ThreeItems(), dataset], ignore_keys=[
        "reduce_zero_label"
    ]),
])  # fmt: skip
@pytest.mark.parametrize(
    "settings", [dict(reduce_zero_label=True), dict(ignore_index=0)]
)
def test_ids_of_other_meaning_are_refused_inside_wrappers(wrap, settings):
    (key,) = settings
    before_run(val=loop_over(ValLoop, wrap(ThreeItems())))
    loop = loop_over(ValLoop, wrap(ThreeItems(**settings)))
    with pytest.raises(ValueError, match=rf"val_dataloader: ThreeItems has {key}="):
        before_run(val=loop)
    # In a supervised model they mean what they mean in mmseg.
    before_run(val=loop, weak=False)


def test_metrics_ignore_the_same_id():
    for index, raises in ((255, False), (0, True)):
        evaluator = SimpleNamespace(metrics=[IoUMetric(ignore_index=index)])
        loop = loop_over(ValLoop, evaluator=evaluator)
        if not raises:
            before_run(val=loop)
            continue
        with pytest.raises(ValueError, match="val_evaluator: IoUMetric has ignore_ind"):
            before_run(val=loop)


def test_another_precision_after_a_break_is_told(caplog):
    def train(wrapper, hub):
        caplog.clear()
        loop = loop_over(IterBasedTrainLoop)
        loop.dataloader = DataLoader(range(6), batch_size=2)
        runner = training_runner(loop, torch.nn.Identity())
        runner.message_hub = hub
        runner.optim_wrapper = wrapper(runner.optim_wrapper.optimizer)
        with caplog.at_level(logging.INFO):
            SettingsCheckHook().before_train(runner)
        return [
            record.message for record in caplog.records if "train" in record.message
        ]

    hub = MessageHub("run")
    assert train(OptimWrapper, hub) == ["The run trains in float32."]
    assert train(OptimWrapper, hub) == ["The run trains in float32."]
    told, warned = train(BFloat16OptimWrapper, hub)
    assert told == "The run trains in bfloat16."
    assert "it trained in float32: --amp decides" in warned
