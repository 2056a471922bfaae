"""Steps and predictions on a CUDA device of fake tensors, where there is no GPU.

What would make the host of a GPU wait raises here, and so do operations on tensors of
two devices. Mixed precision follows torch's rules for CUDA. Backward passes need a real
device: test_step_on_device.py.
"""

import functools
import json
from collections import Counter
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_fsr.analysis.fake_device import (
    fake_tensors,
    move_to_fake,
    training_batch,
)
from mmseg_fsr.engine.hooks import EMATeacherHook
from mmseg_fsr.models.masking.uncertainty_mask_generator import MASK_STRATEGIES
from mmseg_fsr.models.pseudo_labels import LabelShares
from mmseg_fsr.models.segmentors import WeakSegmentor
from tests.support.new_torch import needs_new_torch
from tests.support.project_files import CONFIGS
from tests.support.reduced_config import reduced_config, view_sizes
from tests.support.tiny_segmentor import NUM_CLASSES, tiny_cfg

pytestmark = needs_new_torch
MODE = FakeTensorMode()
NAMES = sorted(
    path.relative_to(CONFIGS).with_suffix("").as_posix()
    for path in CONFIGS.rglob("*.py")
    if "_base_" not in path.parts
)
OWN = [name for name in NAMES if not name.startswith(("second_stage", "supervised"))]
# Of mmseg's own segmentors: those on photographs are the same, but larger.
MMSEGS = [name for name in NAMES if name not in OWN and "scenes" in name]
# Settings that change sizes and values, but no operation.
SIZES = {
    *("arch", "depth", "num_layers", "num_heads", "embed_dims", "feedforward_channels"),
    *("in_channels", "aux_in_channels", "channels", "out_channels", "c1_in_channels"),
    *("c1_channels", "hidden_channels", "bottleneck_channels", "num_classes"),
    *("drop_path_rate", "dropout_ratio", "frozen_stages", "out_indices", "img_size"),
    *("size", "block_size", "random_phase", "loss_begin", "low_thr", "high_thr"),
    *("scale_factor", "loss_weight", "layer_scale_init_value", "init_cfg", "data"),
    *("pretrained", "mean", "std"),
}
BATCH, SIZE = 2, (64, 128)
CUDA = torch.device("cuda", 0)


@functools.cache
def config(name):
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    backbone = cfg.model.backbone.get("backbone", cfg.model.backbone)
    if backbone.type == "MixVisionTransformer":
        backbone.num_layers = [1] * len(backbone.num_layers)
    if name in OWN:
        reduced_config(cfg)
        # As it is, and at another size.
        cfg.model.pseudo_label_generator.scales = (1.0, 0.5)
    if "depths" in backbone.get("arch", {}):
        # Windows are shifted in every other block.
        backbone.arch.depths = [2, 1, 1, 1]
    return cfg


def structure(name):
    """What a step computes, without sizes: configs that share it share a test."""

    def without_sizes(value):
        if isinstance(value, dict):
            kept = value.items()
            return {k: without_sizes(x) for k, x in kept if k not in SIZES}
        return [without_sizes(x) for x in value] if isinstance(value, list) else value

    cfg = config(name)
    views = len(view_sizes(cfg))
    return json.dumps(without_sizes(cfg.model.to_dict()), default=str) + str(views)


def one_of_each_structure(names):
    """A config of each structure."""
    return sorted({structure(name): name for name in names}.values())


@functools.cache
def fake_model(name):
    """A config's model in training mode on the fake device; tests leave it so."""
    cfg = config(name)
    model = MODELS.build(cfg.model)
    move_to_fake(model, MODE)
    return model.train()


def step(model, batch=None, amp=None):
    """Losses of a step, from the data loader's batch on."""
    with fake_tensors(MODE, amp=amp):
        if batch is None:
            classes = model.cam_head.num_classes
            batch = training_batch([SIZE, SIZE], classes, BATCH)
        losses = model.loss(**model.data_preprocessor(batch, True))
    for name, loss in losses.items():
        assert (loss.device, loss.dtype) == (CUDA, torch.float32), name
    return losses


def assert_on_device(model):
    values = [*model.parameters(), *model.buffers()]
    assert {value.device for value in values} == {CUDA}


def follow_student(model, cfg, iteration):
    """A step of the optimiser and of the hook that averages."""
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    runner = SimpleNamespace(
        model=model,
        iter=iteration,
        max_iters=cfg.max_iters,
        optim_wrapper=optim_wrapper,
    )
    with fake_tensors(MODE):
        for value in model.parameters():
            value.grad = torch.empty_like(value) if value.requires_grad else None
        optim_wrapper.step()
        optim_wrapper.zero_grad()
        for hook in map(EMATeacherHook, [0.9] * bool(cfg.get("custom_hooks"))):
            hook.after_train_iter(runner, 0)
    assert_on_device(model)


# ------------------------------------------------------------------------ steps


def test_no_config_is_left_out():
    tried = {structure(n) for n in one_of_each_structure(OWN)}
    assert {structure(name) for name in OWN} == tried
    assert 10 < len(tried) < len(OWN)


@pytest.mark.slow
@pytest.mark.parametrize("name", one_of_each_structure(OWN))
def test_a_step_of_each_phase_runs_without_waiting(name, training_step):
    cfg, model = config(name), fake_model(name)
    # Masks are random at first; test_every_phase_of_losses has those between.
    for iteration in (0, cfg.max_iters - 1):
        training_step(iteration, cfg.max_iters)
        sizes, classes = view_sizes(cfg), model.cam_head.num_classes
        with fake_tensors(MODE):
            batch = training_batch(sizes, classes, BATCH)
        losses = step(model, batch)
    expected = set(WeakSegmentor.LOSSES)
    if model.teacher is None:
        expected -= {"loss_fsr_class", "loss_fsr_patch"}
    assert losses.keys() == expected
    follow_student(model, cfg, cfg.max_iters - 1)


@functools.cache
def tiny_model():
    model = MODELS.build(tiny_cfg())
    move_to_fake(model, MODE)
    # As PseudoLabelShareHook has it.
    model.label_shares = LabelShares(NUM_CLASSES)
    return model


@pytest.fixture
def tiny(training_step):
    """The tiny segmentor in its last phase. A test may change its settings."""
    training_step(9, 10)
    model = tiny_model().train()
    names = "mask_generator", "cam_source", "reuse_features", "loss_begin"
    before = {name: getattr(model, name) for name in names}
    yield model
    for name, value in before.items():
        setattr(model, name, value)
    model.test_cfg.pop("cams", None)


@pytest.mark.parametrize("iteration", range(4))
def test_every_phase_of_losses(iteration, tiny, training_step):
    training_step(iteration, 10)
    tiny.loss_begin = dict(loss_fsr_class=1, loss_fsr_patch=1, loss_ptc=2)
    tiny.loss_begin |= dict(loss_seg=3, loss_energy=3)
    begun = set(WeakSegmentor.LOSSES) - {
        name for name, begin in tiny.loss_begin.items() if iteration < begin
    }
    # What keeps idle parameters in the graph.
    assert step(tiny).keys() == begun | {"loss_seg", "loss_fsr_class"}
    if iteration == 3:
        assert tiny.label_shares._sums.device == CUDA


@pytest.mark.parametrize("strategy", MASK_STRATEGIES)
@pytest.mark.parametrize("iteration", [0, 9])
def test_every_mask_strategy(strategy, iteration, tiny, training_step):
    training_step(iteration, 10)
    generator = tiny_cfg().mask_generator | dict(strategy=strategy)
    tiny.mask_generator = MODELS.build(generator)
    assert step(tiny).keys() == set(WeakSegmentor.LOSSES)


@pytest.mark.parametrize("cam_source", ["student", "teacher"])
@pytest.mark.parametrize("reuse_features", [False, True])
def test_labels_of_student_and_teacher(cam_source, reuse_features, tiny):
    tiny.cam_source, tiny.reuse_features = cam_source, reuse_features
    assert step(tiny).keys() == set(WeakSegmentor.LOSSES)


def test_local_crops(tiny):
    with fake_tensors(MODE):
        sizes = [SIZE, SIZE, (32, 32), (32, 32)]
        batch = training_batch(sizes, NUM_CLASSES, BATCH)
    passed = []
    hook = tiny.backbone.register_forward_hook(
        lambda module, args, output: passed.append(tuple(args[0].shape))
    )
    step(tiny, batch)
    hook.remove()
    assert (2 * BATCH, 3, 32, 32) in passed


@pytest.mark.slow
@pytest.mark.parametrize("name", MMSEGS)
def test_fsr_heads_and_second_stages_in_mmsegs_segmentors(name, training_step):
    cfg = config(name)
    training_step(cfg.train_cfg.max_iters - 1, cfg.train_cfg.max_iters)
    cfg.max_iters = cfg.train_cfg.max_iters
    model = fake_model(name)
    # mmseg's accuracy, which is only for the log, waits: it indexes by booleans.
    accuracy = mock.patch("mmseg.models.decode_heads.decode_head.accuracy")
    with fake_tensors(MODE, may_wait_for_input=True), accuracy:
        mask = PixelData(data=torch.zeros(1, *cfg.crop_size, dtype=torch.long))
        samples = [SegDataSample(gt_sem_seg=mask) for _ in range(BATCH)]
        images = [
            torch.zeros(3, *cfg.crop_size, dtype=torch.uint8) for _ in range(BATCH)
        ]
        batch = dict(inputs=images, data_samples=samples)
        losses = model.loss(**model.data_preprocessor(batch, True))
    if name.startswith("supervised"):
        assert losses.keys() > {
            "aux_0.loss_ptc", "aux_1.loss_fsr_class", "aux_1.loss_fsr_patch",
        }  # fmt: skip
    losses = {key: loss for key, loss in losses.items() if "loss" in key}
    assert {loss.device for loss in losses.values()} == {CUDA}
    follow_student(model, cfg, 0)


# ------------------------------------------------------------------ predictions


def images_and_samples(versions, size=SIZE):
    """Versions of test images, whose masks are on the host."""
    with fake_tensors(MODE):
        images, samples = [], []
        for flip in versions:
            meta = dict(img_shape=size, pad_shape=size, ori_shape=(40, 60), flip=flip)
            meta["flip_direction"] = "horizontal"
            mask = PixelData(data=torch.zeros(1, 40, 60, dtype=torch.uint8))
            samples.append([
                SegDataSample(metainfo=meta, gt_sem_seg=mask) for _ in range(BATCH)
            ])  # fmt: skip
            images.append(
                [torch.zeros(3, *size, dtype=torch.uint8) for _ in range(BATCH)]
            )
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize("cams", [False, True])
@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("amp", [None, torch.bfloat16])
def test_prediction(cams, augmented, amp, tiny):
    predictor = tiny.eval()
    predictor.test_cfg.cams = cams
    versions = images_and_samples([False, True])
    waiting = fake_tensors(MODE, amp=amp, may_wait_for_input=True)
    with torch.no_grad(), waiting:
        if augmented:
            tta = MODELS.build(dict(type="FSRTTAModel", module=predictor))
            samples = tta.test_step(versions)
        else:
            single = {name: values[0] for name, values in versions.items()}
            samples = predictor.test_step(single)
    assert len(samples) == BATCH
    fields = {"seg_logits", "pred_sem_seg"}
    if cams:
        fields |= {"cams", "aux_cams", "pseudo_sem_seg"}
    for sample in samples:
        for field in fields:
            data = sample.get(field).data
            assert data.device == CUDA, field
            assert data.shape[1:] == (40, 60)
        assert ("cams" in sample) == cams


# --------------------------------------------------------------- half precision


class ProductDtypes(TorchDispatchMode):
    """Counts matrix products, convolutions and attentions by dtype."""

    NAMES = ("mm", "addmm", "bmm", "baddbmm", "convolution")

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in self.NAMES or "dot_product" in name:
            self.counts[args[0].dtype] += 1
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("amp", [torch.float16, torch.bfloat16])
def test_half_precision(amp, tiny):
    """By torch's rules for CUDA, which need no CUDA: not those of the CPU."""
    dtypes = {}

    def note(module, args, output):
        dtypes[module] = {x.dtype for x in (*args, output) if torch.is_tensor(x)}

    refiner, energy = tiny.pseudo_label_generator.refiner, tiny.loss_energy
    hooks = [module.register_forward_hook(note) for module in (refiner, energy)]
    with ProductDtypes() as products:
        step(tiny, amp=amp)
    for hook in hooks:
        hook.remove()
    assert dtypes[refiner] == {torch.float32}
    assert dtypes[energy] == {torch.float32, torch.long}
    # In float32 are the cosines of PTC, and the projector's last layer of the class
    # tokens, of the patches, each twice, and of the mean of the patches.
    assert products.counts.keys() == {amp, torch.float32}
    assert products.counts[torch.float32] == 1 + 5
    assert products.counts[amp] > 50
    with fake_tensors(MODE):
        tiny.distill_head.update_centers()
    values = [*tiny.parameters(), *tiny.buffers()]
    assert {x.dtype for x in values if x.is_floating_point()} == {torch.float32}


# ------------------------------------------------------- what such a test finds


MISTAKES = {
    "item": lambda logits: logits.sum().item(),
    "branch": lambda logits: 1 if logits.isnan().any() else 0,
    "boolean index": lambda logits: logits[logits > 0],
    "nonzero": lambda logits: logits.nonzero(),
    "copy to the host": lambda logits: logits.cpu(),
    "copy into the host": lambda logits: torch.zeros(logits.shape).copy_(logits),
    "element": lambda logits: logits.flatten().__setitem__(0, 1.0),
    "copy of a list": lambda logits: logits.new_tensor([1.0, 2.0]),
    "copy to the device": lambda logits: torch.zeros(3).to(logits.device),
    "tensor of the host": lambda logits: logits + torch.zeros(logits.shape[-1]),
    "index on the host": lambda logits: logits.take(torch.zeros(1).long()),
    "real tensor": lambda logits: logits + REAL,
}  # fmt: skip
REAL = torch.zeros(1)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wait_or_a_second_device_in_the_step_is_found(mistake, tiny):
    def make(module, args, logits):
        MISTAKES[mistake](logits)

    hook = tiny.decode_head.register_forward_hook(make)
    try:
        with pytest.raises((RuntimeError, AssertionError)):
            step(tiny)
    finally:
        hook.remove()
