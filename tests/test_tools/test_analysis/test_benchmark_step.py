import json

import pytest
from mmengine.config import Config

from tests.support.project_files import load_tool
from tests.support.runs import own_globals
from tests.support.tiny_config import write_tiny_config


@pytest.fixture(scope="module")
def tool():
    return load_tool("analysis/benchmark_step")


@pytest.fixture(scope="module")
def report(tool, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    out = folder / "step.json"
    arguments = ["--against", "plain", "--batch-size", "1", "2", "--repeats", "2"]
    config = write_tiny_config(folder)
    with own_globals():
        tool.main([str(config), *arguments, "--device", "cpu", "--out", str(out)])
    return json.loads(out.read_text())


@pytest.mark.slow
def test_a_row_for_each_phase_and_batch(report):
    rows = [(row["phase"], row["batch_size"]) for row in report["rows"]]
    assert rows == [("random", 1), ("random", 2), ("uncertain", 1), ("uncertain", 2)]
    for row in report["rows"]:
        assert len(row["seconds"]) == len(row["plain_seconds"]) == 2
        assert min(row["seconds"] + row["plain_seconds"]) > 0
        # At least that of torch itself.
        assert 1e8 < row["peak_memory"] < 1e10
    assert report["environment"]["device"] == "CPU"
    assert report["matrix_peak"] > 1e9


@pytest.mark.slow
def test_operations_grow_with_the_batch_and_the_masks_cams(report):
    counts = [row["operations"] for row in report["rows"]]
    assert counts[1] == pytest.approx(2 * counts[0], rel=0.05)
    assert counts[2] > counts[0]
    assert counts[3] > counts[1]
    for row in report["rows"]:
        assert row["plain_operations"] > row["operations"]


PARTS = {
    "data", "CAMs", "student", "teacher", "losses", "dense energy",
    "refinement (PAR)", "backward", "optimiser, teacher's update",
}  # fmt: skip


@pytest.mark.slow
def test_every_part_is_timed_and_counted(report):
    for row in report["rows"]:
        assert row["parts"].keys() == row["part_operations"].keys() == PARTS
        assert min(row["parts"].values()) > 0
        counted = {name for name, count in row["part_operations"].items() if count}
        assert counted == {"CAMs", "student", "teacher", "losses", "backward"}
        total = sum(row["part_operations"].values())
        assert total == pytest.approx(row["operations"], rel=1e-3)


@pytest.mark.slow
def test_tables_have_a_line_for_each_row_and_part(report, tool):
    assert len(tool.table(report["rows"], 1e9).splitlines()) == 2 + 4
    assert len(tool.parts_table(report["rows"], 1e9).splitlines()) == 2 + 9 + 1


@pytest.mark.slow
def test_growth_is_counted_without_taking_times(tool, tmp_path, capsys):
    out = tmp_path / "growth.json"
    arguments = [
        "--repeats", "0", "--phase", "uncertain", "--size", "32", "64",
        "--labels", "1", "3", "--num-classes", "5", "40",
    ]  # fmt: skip
    with own_globals():
        config = str(write_tiny_config(tmp_path))
        tool.main([config, *arguments, "--device", "cpu", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    kinds = [(row["size"], row["labels"], row["num_classes"]) for row in rows]
    assert kinds == [(32, 1, 5), (64, 1, 5), (32, 3, 5), (32, 1, 40)]
    first, larger, _, of_more_classes = (row["operations"] for row in rows)
    assert larger > 3.5 * first
    assert of_more_classes > first
    head = capsys.readouterr().out.splitlines()[3]
    assert head == "| phase | px | batch | labels | classes | TFLOP | memory, GB |"


@pytest.mark.slow
def test_a_step_without_self_distillation(tool, tmp_path):
    config = write_tiny_config(tmp_path)
    parts = ("distill_head", "mask_generator", "teacher")
    arguments = [
        str(config), "--device", "cpu", "--repeats", "1", "--overwrite",
        "--out", str(tmp_path / "step.json"),
        "--cfg-options", *(f"model.{part}=None" for part in parts),
    ]  # fmt: skip
    with own_globals():
        tool.main(arguments)
    (row,) = json.loads((tmp_path / "step.json").read_text())["rows"]
    assert row["phase"] == "none"
    counted = {name for name, count in row["part_operations"].items() if count}
    assert counted == {"CAMs", "student", "losses", "backward"}
    with own_globals(), pytest.raises(SystemExit, match="has no self-distillation"):
        tool.main([*arguments, "--against", "plain"])


ROW = dict(
    phase="random", size=448, batch_size=4, labels=2, num_classes=20, seconds=[2, 1, 4],
    plain_seconds=[6.0, 5.0, 9.0], plain_operations=5e12, operations=3e12,
    peak_memory=4_400_000_000, parts=dict(student=1.0, backward=2.0, data=1.0),
    part_operations=dict(student=1e12, backward=2e12, data=0),
)  # fmt: skip


def test_table(tool):
    head, _, line = tool.table([ROW], 6e12).splitlines()
    assert line == (
        "| random | 448 | 4 | 2 | 20 | 3 | 4.40 | 2 ± 1.5 | 2 | 25% | 5 | 6 | 3.00x |"
    )
    assert head.count("|") == line.count("|")


def test_parts_table(tool):
    assert tool.parts_table([ROW], 4e12).splitlines()[2:] == [
        "| backward | 50.0%, 25% of peak |",
        "| data | 25.0% |",
        "| student | 25.0%, 25% of peak |",
        "| student and backward | 75.0%, 25% of peak |",
    ]


def test_one_thing_changes_at_a_time(tool):
    kinds = tool.kinds_of_steps(("a", "b"), dict(size=[4, 2], batch=[1, 3], labels=[2]))
    changes = [(4, 1, 2), (2, 1, 2), (4, 3, 2)]
    assert [tuple(kind.values()) for kind in kinds] == [
        (phase, *change) for phase in "ab" for change in changes
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repeats", "-1"], "--repeats: expected 0 or more"),
        (["--repeats", "0", "--against", "plain"], "expected --repeats of 1 or more"),
    ],
)
def test_refuses_numbers_of_repeats(tool, arguments, message, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(["config.py", *arguments])
    assert message in capsys.readouterr().err


def test_against_plain_refuses_another_network(tool):
    cfg = Config(dict(model=dict(
        backbone=dict(type="FSRBackbone"), distill_head=dict(),
        decode_head=dict(type="FCNHead"),
    )))  # fmt: skip
    with pytest.raises(ValueError, match="FSRViT with LargeFOVHead, got FSRBackbone"):
        tool.PlainStep(cfg, None, None)
