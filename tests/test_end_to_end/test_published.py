"""A published checkpoint predicts and scores as the one of training does."""

import json

import pytest
import torch
from mmseg.apis import inference_model, init_model

from tests.support.project_files import TOOLS, load_tool
from tests.support.runs import run_tool


@pytest.fixture(scope="module", params=["student", "teacher"])
def network(request):
    return request.param


@pytest.fixture(scope="module")
def published(straight, network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    arguments = (straight.work_dir / "iter_4.pth", folder / "fsr.pth")
    load_tool("publish_model").main([*map(str, arguments), "--network", network])
    (file,) = folder.glob("fsr-*.pth")
    return file


def test_predicts_the_same(straight, tiny, project, network, published):
    trained, model = (
        init_model(str(tiny), str(checkpoint), device="cpu")
        for checkpoint in (straight.work_dir / "iter_4.pth", published)
    )
    assert model.dataset_meta["classes"] == trained.dataset_meta["classes"]
    assert model.dataset_meta["palette"] == trained.dataset_meta["palette"]
    if network == "teacher":
        weights = trained.teacher.state_dict()
        trained.load_state_dict(weights, strict=False)
    image = str(project / "scenes" / "JPEGImages" / "val_00000.jpg")
    expected, found = (inference_model(x, image) for x in (trained, model))
    assert torch.equal(found.seg_logits.data, expected.seg_logits.data)


def test_scores_the_same(straight, tiny, network, published, tmp_path):
    run_tool(TOOLS / "test.py", tiny, published, "--work-dir", tmp_path)
    (file,) = tmp_path.glob("*/*.json")
    scores = json.loads(file.read_text())
    assert not any(name.startswith("teacher/") for name in scores)
    prefix = "teacher/" if network == "teacher" else ""
    for name in ("mIoU", "cam/mIoU", "pseudo_label/mIoU", "cls/f1", "cls/mAP"):
        expected = straight.record["metrics"][f"{prefix}{name}"]
        assert scores[name] == pytest.approx(expected, abs=1e-6), name
