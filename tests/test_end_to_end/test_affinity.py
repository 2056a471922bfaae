"""A run whose CAMs spread over what a frozen network finds similar."""

import json

import pytest
import torch

from mmseg_fsr.apis import init_model
from mmseg_fsr.checkpoints import load_checkpoint_file
from tests.support.project_files import load_tool
from tests.support.runs import load_config, score, train
from tests.support.timm_vit import COMMON, timm_vit


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Options of a run whose affinity has weights of a file."""
    weights = tmp_path_factory.mktemp("weights") / "frozen.pth"
    torch.save(timm_vit().state_dict(), weights)
    init_cfg = dict(type="Pretrained", checkpoint=str(weights))
    backbone = dict(type="mmpretrain.VisionTransformer", init_cfg=init_cfg, **COMMON)
    source = dict(type="FrozenFeatures", backbone=backbone, scale_factor=2.0)
    affinity = dict(type="FeatureAffinity", power=4, steps=1, source=source)
    return dict(
        model__pseudo_label_generator__affinity=affinity,
        pretrained_weights={"frozen.pth": dict(supervision="no labels")},
        # The measures of each step are in the log.
        default_hooks__distillation_health__interval=1,
    )


@pytest.fixture(scope="module")
def work_dir(tiny, settings, tmp_path_factory):
    """The folder of a finished run."""
    folder = tmp_path_factory.mktemp("spread")
    train(load_config(tiny, folder, **settings))
    return folder


def test_checkpoints_hold_nothing_of_the_frozen_network(work_dir, straight):
    own, plain = (
        load_checkpoint_file(folder / "iter_4.pth").state_dict
        for folder in (work_dir, straight.work_dir)
    )
    assert own.keys() == plain.keys()
    # Labels differ, so weights do.
    assert any(not torch.equal(own[name], plain[name]) for name in own)


def test_a_test_gives_the_scores_of_the_training(work_dir, tiny, settings, tmp_path):
    scores = score(load_config(tiny, tmp_path, **settings), work_dir / "iter_4.pth")
    assert scores["cam/mIoU"] > 0
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    logged = json.loads(log.read_text().splitlines()[-1])
    for name in ("mIoU", "cam/mIoU", "pseudo_label/mIoU"):
        assert scores[name] == pytest.approx(logged[name], abs=1e-6), name


def test_it_resumes_and_says_its_supervision(work_dir, tiny, settings, tmp_path):
    options = dict(settings, resume=True, load_from=str(work_dir / "iter_2.pth"))
    train(load_config(tiny, tmp_path, **options))
    whole, resumed = (
        load_checkpoint_file(folder / "iter_4.pth") for folder in (work_dir, tmp_path)
    )
    for name, tensor in whole.state_dict.items():
        assert torch.equal(tensor, resumed.state_dict[name]), name
    data, frozen = resumed.rest["meta"]["supervision"]
    assert data.endswith(": image labels")
    assert frozen.endswith("frozen.pth: no labels")
    (log,) = work_dir.glob("*/*.log")
    assert f"Supervision: {data}; {frozen}" in log.read_text()


def test_health_of_the_self_distillation_is_in_the_log(work_dir):
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    steps = [json.loads(line) for line in log.read_text().splitlines()][:4]
    for step in steps:
        for tokens in ("patch", "class"):
            assert 0 < step[f"distill/{tokens}_teacher_entropy"] <= 1
            assert step[f"distill/{tokens}_cross_entropy"] > 0


def test_the_published_model_spreads_cams_and_tells_what_it_saw(
    work_dir, tiny, settings, tmp_path
):
    arguments = (work_dir / "iter_4.pth", tmp_path / "fsr.pth")
    load_tool("publish_model").main([*map(str, arguments)])
    (file,) = tmp_path.glob("fsr-*.pth")
    options = {name.replace("__", "."): value for name, value in settings.items()}
    model = init_model(tiny, file, "cpu", options)
    assert model.supervision[1].endswith("frozen.pth: no labels")
    images = torch.randn(1, 3, 32, 32)
    spread = model.cams(images)
    model.pseudo_label_generator.affinity = None
    plain = model.cams(images)
    assert torch.equal(spread.aux, plain.aux)
    assert not torch.allclose(spread.top, plain.top)
