import contextlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_fsr.engine.hooks import CAMVisualizationHook, cam_visualization_hook
from mmseg_fsr.engine.hooks.cam_visualization_hook import evaluated_aside
from mmseg_fsr.visualization import colorize_labels, draw_sample, overlay_heat
from tests.support.panel_tiles import tiles_of
from tests.support.tiny_segmentor import SIZE, build_tiny, evaluation_samples

MAX_ITERS = 10
METAINFO = dict(
    classes=("background", "ball", "fish", "leaf"),
    palette=[[0, 0, 0], [255, 0, 0], [0, 0, 255], [0, 255, 0]],
)
WHITE, COVERED, UNCERTAIN = [255] * 3, [120] * 3, [255, 170, 0]


# ------------------------------------------------------------ evaluated_aside


@pytest.fixture
def network():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    model[0].eval()  # as frozen stages are
    return model


def test_the_model_is_evaluated_and_left_as_it_was_even_by_an_error(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random_state = torch.get_rng_state()
    with contextlib.suppress(RuntimeError), evaluated_aside(network):
        assert not any(module.training for module in network.modules())
        assert not network(torch.rand(3, 4)).requires_grad
        raise RuntimeError
    assert [module.training for module in network] == [False, True, True]
    assert network.training
    assert torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


# ----------------------------------------------------------------- the hook


def build_runner(model, iteration=0):
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=METAINFO))
    images = []
    visualizer = SimpleNamespace(add_image=lambda *image: images.append(image))
    return SimpleNamespace(
        model=model,
        iter=iteration,
        visualizer=visualizer,
        images=images,
        train_dataloader=loader,
        val_dataloader=loader,
    )


@pytest.fixture
def batch():
    """Two images as a data loader gives them, BGR; view 2 is white."""
    view1 = torch.randint(256, (3, *SIZE), dtype=torch.uint8)
    views = dict(view1=[view1, 255 - view1], view2=[torch.full_like(view1, 255)] * 2)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    samples = [SegDataSample(gt_label=LabelData(label=label)) for label in labels]
    return dict(inputs=views, data_samples=samples)


@pytest.fixture
def step(batch, training_step):
    """A step of training without an optimiser; gives the mask and the panel."""

    def train(runner, **hook):
        training_step(runner.iter, MAX_ITERS)
        hook, model = CAMVisualizationHook(interval=1, **hook), runner.model.train()
        masks, generator = [], model.mask_generator
        if generator is not None:
            listener = generator.register_forward_hook(
                lambda module, args, mask: masks.append(mask)
            )
        hook.before_train_iter(runner, 0, batch)
        model.loss(**model.data_preprocessor(batch, True))
        hook.after_train_iter(runner, 0, batch, {})
        if generator is not None:
            listener.remove()
            assert not generator._forward_hooks
        ((name, panel, at),) = runner.images
        assert (name, at) == ("panel_train", runner.iter + 1)
        return masks, panel

    return train


@pytest.mark.parametrize(("iteration", "by_cams"), [(0, False), (9, True)])
def test_draws_the_very_blocks_of_the_step(step, monkeypatch, iteration, by_cams):
    uncertain = torch.tensor([[[True, False, False], [False, True, True]]])
    monkeypatch.setattr(
        "mmseg_fsr.models.masking.uncertainty_mask_generator.uncertain_blocks_by_cams",
        lambda cams, *_: uncertain.expand(len(cams), -1, -1),
    )
    (mask,), panel = step(build_runner(build_tiny(), iteration))
    *_, view2 = tiles_of(panel, *SIZE)
    # 2 x 3 blocks of 16 px.
    centers = view2[43 :: 171 // 2, 43 :: 256 // 3][:2, :3]
    expected = np.where(mask[0, ::2, ::2, None], COVERED, WHITE)
    assert (centers == expected).all()
    assert 0 < (centers == WHITE).all(-1).sum() < 6
    # Frames, and a legend of them, appear with the masks that CAMs choose.
    framed = (view2 == UNCERTAIN).all(-1).astype(np.float32)
    blocks = cv2.resize(framed, (3, 2), interpolation=cv2.INTER_AREA) > 0.1
    assert blocks.tolist() == (uncertain[0] & by_cams).tolist()
    assert (panel[24 + 171 :] == UNCERTAIN).all(-1).any() == by_cams


def test_draws_the_first_image_as_the_network_sees_it(batch, step):
    model = build_tiny()
    _, panel = step(build_runner(model))
    # What the network says of the image in evaluation mode.
    model.eval()
    inputs = model.data_preprocessor(batch, False)
    sample = SegDataSample(
        metainfo=dict(ori_shape=SIZE, img_shape=SIZE),
        gt_label=batch["data_samples"][0].gt_label,
    )
    view1 = inputs["inputs"]["view1"][:1]
    with torch.no_grad():
        (sample,) = model.predict(view1, [sample])
        model.add_cams(view1, [sample], sample.gt_label.label[None])
    rgb = batch["inputs"]["view1"][0].flip(0).permute(1, 2, 0).numpy()
    expected = [
        rgb,
        *(overlay_heat(rgb, sample.cams.data[k].numpy()) for k in (0, 2)),
        colorize_labels(sample.pseudo_sem_seg.data[0].numpy(), METAINFO["palette"]),
        colorize_labels(sample.pred_sem_seg.data[0].numpy(), METAINFO["palette"]),
    ]
    *found, _ = tiles_of(panel, *SIZE)
    for i, (tile, picture) in enumerate(zip(found, expected, strict=True)):
        scaled = cv2.resize(picture, (256, 171), interpolation=cv2.INTER_NEAREST)
        assert (tile == scaled).all(), i


@pytest.mark.parametrize(("interval", "steps"), [(2, [2, 4]), (0, [])])
def test_draws_at_the_interval_alone(batch, monkeypatch, interval, steps):
    hook, runner = CAMVisualizationHook(interval), build_runner(build_tiny())
    monkeypatch.setattr(hook, "_training_panel", lambda *_: None)
    for runner.iter in range(5):
        hook.before_train_iter(runner, 0, batch)
        listening = len(runner.model.mask_generator._forward_hooks)
        assert listening == (runner.iter + 1 in steps)
        hook.after_train_iter(runner, 0, batch, {})
    assert [at for *_, at in runner.images] == steps


@pytest.mark.parametrize("cams", [False, True])
def test_without_self_distillation_there_is_no_masked_view(batch, step, cams):
    """Whether CAMs are scored in validation or not, training shows them."""
    parts = dict(distill_head=None, mask_generator=None, teacher=None)
    model = build_tiny(test_cfg=dict(mode="whole", cams=cams), **parts)
    del batch["inputs"]["view2"]
    _, panel = step(build_runner(model), max_cams=1)
    assert len(tiles_of(panel, *SIZE)) == 4
    # A masked block has hundreds of grey pixels; random colours may make one.
    assert (panel[24 + 171 :] == [96] * 3).all(-1).sum() < 16


def test_other_processes_neither_draw_nor_listen(batch, monkeypatch):
    monkeypatch.setattr(cam_visualization_hook, "is_main_process", lambda: False)
    runner, hook = build_runner(build_tiny()), CAMVisualizationHook(interval=1)
    hook.before_train_iter(runner, 0, batch)
    assert not runner.model.mask_generator._forward_hooks
    hook.after_train_iter(runner, 0, batch, {})
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, None, [SegDataSample()])
    assert runner.images == []


@pytest.mark.parametrize(("cams", "count"), [(True, 5), (False, 3)])
def test_validation_draws_the_first_images(tmp_path, cams, count):
    model = build_tiny(test_cfg=dict(mode="whole", cams=cams)).eval()
    with torch.no_grad():
        samples = model.predict(torch.randn(3, 3, *SIZE), evaluation_samples(3))
    color = np.full((40, 60, 3), (100, 20, 0), np.uint8)
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(img_path=str(tmp_path / f"photo{i}.png")))
        cv2.imwrite(sample.img_path, color[..., ::-1])
    runner, hook = build_runner(model, 20), CAMVisualizationHook(val_images=2)
    hook.before_val_epoch(runner)
    for index, sample in enumerate(samples):
        hook.after_val_iter(runner, index, None, [sample])
    names = [(name, at) for name, _, at in runner.images]
    assert names == [(f"panel_val_{i:02d}_photo{i}", 20) for i in range(2)]
    for (_, panel, _), sample in zip(runner.images, samples[:2], strict=True):
        assert len(tiles_of(panel, 40, 60)) == count
        assert (panel == draw_sample(color, sample, **METAINFO, max_cams=4)).all()


def test_no_validation_pictures_on_request():
    runner, hook = build_runner(None), CAMVisualizationHook(val_images=0)
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, None, [SegDataSample()])
    assert runner.images == []


def test_a_model_without_cams_is_told_before_the_run():
    with pytest.raises(ValueError, match=r"the model Linear has no cam_head"):
        CAMVisualizationHook().before_run(build_runner(nn.Linear(1, 1)))


@pytest.mark.parametrize("name", ["interval", "val_images", "max_cams"])
def test_negative_numbers_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=-1, expected 0"):
        CAMVisualizationHook(**{name: -1})
