"""What the report's tool says of a run; whole reports are in test_end_to_end."""

import pytest
from mmengine.config import Config

from tests.support.project_files import load_config, load_tool


@pytest.fixture(scope="module")
def tool():
    return load_tool("report")


def test_seeds_are_scored_at_the_configs_threshold(tool):
    assert tool.cam_threshold(load_config("fsr_vit-b_voc")) == 0.5
    assert tool.cam_threshold(load_config("fsr_vit-b_coco")) == 0.45
    assert tool.cam_threshold(Config(dict(val_evaluator=None))) == 0.5


@pytest.mark.parametrize("number", ["0", "-1", "x"])
def test_numbers_of_images_are_positive(tool, number, capsys):
    for option in ("--num", "--gallery"):
        with pytest.raises(SystemExit):
            tool.parse_args(["work", option, number])
        said = f"argument {option}: {number!r}: expected a whole number from 1 on"
        assert said in capsys.readouterr().err
