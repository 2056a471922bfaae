from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import LabelData
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_fsr.engine.hooks import cam_visualization_hook
from mmseg_fsr.visualization import colorize_labels, draw_sample, overlay_heat
from tests.support.panel_tiles import tiles_of
from tests.support.tiny_segmentor import (
    SIZE,
    build_tiny,
    evaluation_samples,
)

MAX_ITERS = 10
METAINFO = dict(
    classes=("background", "ball", "fish", "leaf"),
    palette=[[0, 0, 0], [255, 0, 0], [0, 0, 255], [0, 255, 0]],
)
WHITE, COVERED = [255] * 3, [120] * 3
UNCERTAIN = [255, 170, 0]


class Visualizer:
    def __init__(self):
        self.images = []

    def add_image(self, name, image, step):
        self.images.append((name, image, step))


def build_runner(model, iteration=0):
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=METAINFO))
    return SimpleNamespace(
        model=model,
        iter=iteration,
        visualizer=Visualizer(),
        train_dataloader=loader,
        val_dataloader=loader,
    )


def build_hook(**kwargs):
    return HOOKS.build(dict(type="CAMVisualizationHook", **kwargs))


@pytest.fixture
def batch():
    """Two images as a data loader gives them, BGR; view 2 is white."""
    view1 = torch.randint(256, (3, *SIZE), dtype=torch.uint8)
    views = dict(view1=[view1, 255 - view1], view2=[torch.full_like(view1, 255)] * 2)
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    samples = [SegDataSample(gt_label=LabelData(label=label)) for label in labels]
    return dict(inputs=views, data_samples=samples)


def step(hook, runner, batch, training_step):
    """A step of training without an optimiser; gives the mask that it used."""
    training_step(runner.iter, MAX_ITERS)
    masks = []
    generator = runner.model.mask_generator
    if generator is not None:
        listener = generator.register_forward_hook(
            lambda module, args, mask: masks.append(mask)
        )
    hook.before_train_iter(runner, 0, batch)
    losses = runner.model.loss(**runner.model.data_preprocessor(batch, True))
    hook.after_train_iter(runner, 0, batch, losses)
    if generator is not None:
        listener.remove()
        assert not generator._forward_hooks
    return masks[0] if masks else None


@pytest.mark.parametrize(("iteration", "framed"), [(0, False), (9, True)])
def test_draws_the_very_blocks_of_the_step(batch, training_step, iteration, framed):
    model = build_tiny().train()
    runner = build_runner(model, iteration)
    mask = step(build_hook(interval=1), runner, batch, training_step)
    ((name, panel, drawn_step),) = runner.visualizer.images
    assert (name, drawn_step) == ("panel_train", iteration + 1)
    assert panel.dtype == np.uint8
    *_, view2 = tiles_of(panel, *SIZE)
    # 2 x 3 blocks of 16 px.
    centers = view2[43 :: 171 // 2, 43 :: 256 // 3][:2, :3]
    expected = np.where(mask[0, ::2, ::2, None], COVERED, WHITE)
    assert (centers == expected).all()
    assert 0 < (centers == WHITE).all(-1).sum() < 6
    # Frames appear with the masks that CAMs choose.
    assert (panel[24 + 171 :] == UNCERTAIN).all(-1).any() == framed


def test_uncertain_blocks_are_framed(batch, training_step, monkeypatch):
    model = build_tiny().train()
    uncertain = torch.tensor([[[True, False, False], [False, True, True]]])
    asked = []

    def decide(cams, labels):
        asked.append((cams.shape, labels.tolist()))
        return uncertain.expand(len(cams), -1, -1)

    monkeypatch.setattr(model.mask_generator, "uncertain_by_cams", decide)
    runner = build_runner(model, 9)
    step(build_hook(interval=1), runner, batch, training_step)
    # Of the images' classes alone.
    assert asked == [((2, 2, *SIZE), [[True, True], [True, False]])]
    *_, view2 = tiles_of(runner.visualizer.images[0][1], *SIZE)
    framed = (view2 == UNCERTAIN).all(-1)
    blocks = cv2.resize(framed.astype(np.float32), (3, 2), interpolation=cv2.INTER_AREA)
    assert (blocks > 0.1).tolist() == uncertain[0].tolist()


def test_draws_the_first_image_as_the_network_sees_it(batch, training_step):
    model = build_tiny().train()
    runner = build_runner(model)
    step(build_hook(interval=1), runner, batch, training_step)
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
    *found, _ = tiles_of(runner.visualizer.images[0][1], *SIZE)
    assert len(found) == len(expected)
    for i, (tile, picture) in enumerate(zip(found, expected, strict=True)):
        scaled = cv2.resize(picture, (256, 171), interpolation=cv2.INTER_NEAREST)
        assert (tile == scaled).all(), i


def test_restores_modes_and_moves_nothing(batch, training_step):
    model = build_tiny().train()
    model.backbone.layers[0].eval()
    modes = [module.training for module in model.modules()]
    runner = build_runner(model)
    hook = build_hook(interval=1)
    hook.before_train_iter(runner, 0, batch)
    training_step(0, MAX_ITERS)
    model.loss(**model.data_preprocessor(batch, True))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    hook.after_train_iter(runner, 0, batch, {})
    assert len(runner.visualizer.images) == 1
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize(("interval", "steps"), [(1, [1, 2, 3]), (2, [2]), (0, [])])
def test_draws_at_the_interval_alone(
    batch, training_step, monkeypatch, interval, steps
):
    model = build_tiny().train()
    predictions = []
    original = model.predict
    monkeypatch.setattr(
        model, "predict", lambda *args: predictions.append(1) or original(*args)
    )
    hook, runner = build_hook(interval=interval), build_runner(model)
    for runner.iter in range(3):
        step(hook, runner, batch, training_step)
    assert [image[2] for image in runner.visualizer.images] == steps
    assert len(predictions) == len(steps)


def test_without_self_distillation_there_is_no_masked_view(batch, training_step):
    parts = dict(distill_head=None, mask_generator=None, teacher=None)
    runner = build_runner(build_tiny(**parts).train())
    del batch["inputs"]["view2"]
    step(build_hook(interval=1), runner, batch, training_step)
    panel = runner.visualizer.images[0][1]
    assert len(tiles_of(panel, *SIZE)) == 5
    # A masked block has hundreds of grey pixels; random colours may make one.
    assert (panel[24 + 171 :] == [96] * 3).all(-1).sum() < 16


@pytest.mark.parametrize("cams", [False, True])
def test_training_shows_cams_whatever_validation_scores(batch, training_step, cams):
    test_cfg = dict(mode="whole", cams=cams)
    runner = build_runner(build_tiny(test_cfg=test_cfg).train())
    step(build_hook(interval=1, max_cams=1), runner, batch, training_step)
    assert len(tiles_of(runner.visualizer.images[0][1], *SIZE)) == 5


def test_other_processes_neither_draw_nor_listen(batch, training_step, monkeypatch):
    monkeypatch.setattr(cam_visualization_hook, "is_main_process", lambda: False)
    model = build_tiny().train()
    runner, hook = build_runner(model), build_hook(interval=1)
    hook.before_train_iter(runner, 0, batch)
    assert not model.mask_generator._forward_hooks
    hook.after_train_iter(runner, 0, batch, {})
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, None, [SegDataSample()])
    assert runner.visualizer.images == []


def predicted(model, count, folder):
    """Samples of test images whose files are of one colour each."""
    samples = evaluation_samples(count)
    inputs = torch.randn(count, 3, *SIZE)
    with torch.no_grad():
        samples = model.eval().predict(inputs, samples)
    for i, sample in enumerate(samples):
        path = folder / f"photo{i}.png"
        cv2.imwrite(str(path), np.full((40, 60, 3), (0, 20 * i, 100), np.uint8))
        sample.set_metainfo(dict(img_path=str(path)))
    return samples


@pytest.mark.parametrize(("cams", "count"), [(True, 5), (False, 3)])
def test_validation_draws_the_first_images(tmp_path, cams, count):
    model = build_tiny(test_cfg=dict(mode="whole", cams=cams))
    samples = predicted(model, 5, tmp_path)
    runner, hook = build_runner(model), build_hook(val_images=3)
    for runner.iter in (20, 40):
        hook.before_val_epoch(runner)
        for begin in (0, 2, 4):
            hook.after_val_iter(runner, begin // 2, None, samples[begin : begin + 2])
    names = [f"panel_val_{i:02d}_photo{i}" for i in range(3)]
    assert [(name, step) for name, _, step in runner.visualizer.images] == [
        (name, step) for step in (20, 40) for name in names
    ]
    for i in range(3):
        panel = runner.visualizer.images[i][1]
        tiles = tiles_of(panel, 40, 60)
        assert len(tiles) == count
        assert (tiles[0] == [100, 20 * i, 0]).all()
        truth = tiles[-1][[9, 45, 100], 128].tolist()
        assert truth == [METAINFO["palette"][i + 1], [224] * 3, [0, 0, 0]]
        image = np.full((40, 60, 3), (100, 20 * i, 0), np.uint8)
        expected = draw_sample(image, samples[i], **METAINFO, max_cams=4)
        assert (panel == expected).all()


def test_no_validation_pictures_on_request(tmp_path):
    runner, hook = build_runner(None), build_hook(val_images=0)
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, None, [SegDataSample()])
    assert runner.visualizer.images == []


def test_a_model_without_cams_is_told_before_the_run():
    with pytest.raises(ValueError, match=r"the model Linear has no cam_head"):
        build_hook().before_run(build_runner(nn.Linear(1, 1)))
    build_hook().before_run(build_runner(build_tiny()))


@pytest.mark.parametrize("name", ["interval", "val_images", "max_cams"])
def test_negative_numbers_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=-1, expected 0"):
        build_hook(**{name: -1})
