"""The comparison of the package's step with the plain one, at tiny size."""

import json
from types import SimpleNamespace

import pytest
from mmengine.config import Config

from tests.support.runs import own_globals
from tests.support.tiny_config import write_tiny_config

from . import compare_speed


@pytest.mark.slow
def test_both_steps_are_timed_and_counted(tmp_path, capsys):
    config, out = write_tiny_config(tmp_path), tmp_path / "speed.json"
    arguments = ["--device", "cpu", "--size", "32", "--repeats", "1"]
    with own_globals():
        compare_speed.main(
            [str(config), *arguments, "--phase", "uncertain", "--out", str(out)]
        )
    (row,) = json.loads(out.read_text())["rows"]
    assert len(row["seconds"]) == len(row["plain_seconds"]) == 1
    assert min(row["seconds"] + row["plain_seconds"]) > 0
    assert row["plain_operations"] > row["operations"] > 0
    head, _, line = capsys.readouterr().out.splitlines()[-3:]
    assert line.count("|") == head.count("|")


def test_the_table_says_how_much_faster():
    row = dict(
        phase="random", size=448, batch_size=4, labels=2, num_classes=20,
        operations=3e12, seconds=[2, 1, 4], plain_operations=5e12,
        plain_seconds=[6.0, 5.0, 9.0],
    )  # fmt: skip
    line = ["random", 448, 4, 2, 20, "3", "2", "5", "6", "3.00x"]
    assert compare_speed.cells(row) == line


@pytest.mark.parametrize(
    ("backbone", "distill_head", "words"),
    [
        ("FSRBackbone", True, "FSRViT with LargeFOVHead, got FSRBackbone"),
        ("FSRViT", None, "has self-distillation, the config none"),
    ],
)
def test_another_network_is_refused(backbone, distill_head, words):
    model = dict(backbone=dict(type=backbone), decode_head=dict(type="LargeFOVHead"))
    package = SimpleNamespace(
        cfg=Config(dict(model=model)),
        model=SimpleNamespace(distill_head=distill_head),
        device=None,
    )
    with pytest.raises(ValueError, match=words):
        compare_speed.PlainTraining(package)


def test_times_are_needed():
    with (
        own_globals(),
        pytest.raises(SystemExit, match="--repeats: expected 1 or more"),
    ):
        compare_speed.main([compare_speed.__file__, "--repeats", "0"])
