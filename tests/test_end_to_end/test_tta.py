"""The paper's inference by the configs' own ``tta_pipeline``."""

import json

import numpy as np
import torch
from mmengine.runner import Runner
from PIL import Image

from tests.support.project_files import TOOLS
from tests.support.runs import load_config, own_globals, run_tool


def test_scores_student_and_teacher_under_augmentation(straight, tiny, tmp_path):
    def scores(*arguments):
        work_dir = tmp_path / "_".join(("scores", *map(str, arguments[:2])))
        checkpoint = straight.work_dir / "iter_4.pth"
        tool = TOOLS / "test.py"
        run_tool(tool, tiny, checkpoint, "--work-dir", work_dir, *arguments)
        (file,) = work_dir.glob("*/*.json")
        return json.loads(file.read_text())

    maps = tmp_path / "maps"
    plain = scores()
    augmented = scores("--tta", "--cams", "--out", maps)
    assert len(list(maps.glob("*.png"))) == 4
    assert plain.keys() == augmented.keys()
    for name in ("mIoU", "teacher/mIoU", "cam/mIoU", "pseudo_label/mIoU"):
        assert 0 < augmented[name] <= 100
    for name in ("mIoU", "teacher/mIoU", "cam/best_mIoU"):
        assert augmented[name] != plain[name]
    segmentation = scores("--tta")
    assert segmentation["mIoU"] == augmented["mIoU"]
    asked = {name for name in augmented if "/" not in name.removeprefix("teacher/")}
    assert segmentation.keys() == asked


def test_the_average_of_mmseg_is_selectable(straight, tiny, tmp_path):
    checkpoint = straight.work_dir / "iter_4.pth"
    arguments = ("--work-dir", tmp_path, "--tta", "--out", tmp_path / "maps")
    option = "tta_model.type=SegTTAModel"
    run_tool(TOOLS / "test.py", tiny, checkpoint, *arguments, "--cfg-options", option)

    cfg = load_config(tiny, tmp_path / "by_hand", load_from=str(checkpoint))
    cfg.test_dataloader.dataset.pipeline = cfg.tta_pipeline
    with own_globals():
        runner = Runner.from_cfg(cfg)
        runner.load_or_resume()
    loader = runner.build_dataloader(cfg.test_dataloader)
    with torch.no_grad():
        for data in loader:
            mean = 0
            for inputs, samples in zip(*data.values(), strict=True):
                version = dict(inputs=inputs, data_samples=samples)
                (sample,) = runner.model.eval().test_step(version)
                mean = mean + sample.seg_logits.data.softmax(0) / len(data["inputs"])
            name = f"{sample.img_path.rsplit('/', 1)[1][:-4]}.png"
            with Image.open(tmp_path / "maps" / name) as written:
                assert (np.asarray(written) == mean.argmax(0).numpy()).mean() > 0.999
