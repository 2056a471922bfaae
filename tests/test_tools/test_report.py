"""What the report's tool says of a run; whole reports are in test_end_to_end."""

from pathlib import Path

import pytest
from mmengine.config import Config

from tests.project_files import load_config, load_tool


@pytest.fixture(scope="module")
def tool():
    return load_tool("report")


def test_seeds_are_scored_at_the_configs_threshold(tool):
    assert tool.cam_threshold(load_config("fsr_vit-b_voc")) == 0.5
    assert tool.cam_threshold(load_config("fsr_vit-b_coco")) == 0.45
    auxiliary = dict(type="CAMIoUMetric", field="aux_cams", bkg_thr=0.1)
    own = dict(type="CAMIoUMetric", bkg_thr=0.3)
    assert tool.cam_threshold(Config(dict(val_evaluator=[auxiliary, own]))) == 0.3
    assert tool.cam_threshold(Config(dict(val_evaluator=own))) == 0.3
    assert tool.cam_threshold(Config(dict(val_evaluator=[auxiliary]))) == 0.5
    assert tool.cam_threshold(Config(dict(val_evaluator=None))) == 0.5


@pytest.mark.parametrize(
    ("launcher", "train"),
    [
        ("none", "python tools/train.py 'my runs/a.py'"),
        ("pytorch", "tools/dist_train.sh 'my runs/a.py' 8"),
    ],
)
def test_commands_train_with_the_dumped_config(tool, launcher, train):
    folder = Path("my runs")
    lines = tool.commands(
        Config(dict(launcher=launcher)), folder / "a.py", folder, {"GPU number": "8"}
    )
    assert lines.splitlines() == [
        f"{train} --work-dir 'my runs_again'",
        "python tools/report.py 'my runs_again'",
    ]


def test_a_gpu_of_the_training_is_named_else_the_cpu(tool):
    with_gpu = {"CUDA available": "True", "GPU 0": "H100", "GPU number": "1"}
    assert tool.describe_environment(with_gpu) == [("GPU 0", "H100")]
    without = {"CUDA available": "False", "seed": "0", "GPU number": "1"}
    assert tool.describe_environment(without) == [("Device", "CPU")]
    assert tool.describe_environment({}) == []


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_numbers_of_images_are_positive(tool, number, capsys):
    for option in ("--num", "--gallery"):
        with pytest.raises(SystemExit):
            tool.parse_args(["work", option, number])
        assert f"argument {option}: invalid positive value" in capsys.readouterr().err
