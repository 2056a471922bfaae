import json

import pytest

from tests.support.project_files import load_tool
from tests.support.runs import own_globals

PARTS = {
    "data", "CAMs", "student", "teacher", "losses", "dense energy",
    "refinement (PAR)", "backward", "optimiser, teacher's update",
}  # fmt: skip
NO_DISTILLATION = (
    "--cfg-options", "model.distill_head=None", "model.mask_generator=None",
    "model.teacher=None",
)  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tool():
    tool = load_tool("analysis/benchmark_step")
    tool.PEAK_SIDE = 128
    return tool


@pytest.fixture(scope="module")
def measure(tool, tiny, tmp_path_factory):
    """Runs the tool on the tiny config and reads its file."""
    out = tmp_path_factory.mktemp("benchmark") / "step.json"

    def measure(*arguments):
        with own_globals():
            device = ["--device", "cpu", "--overwrite"]
            tool.main([str(tiny), *device, "--out", str(out), *arguments])
        return json.loads(out.read_text())

    return measure


@pytest.fixture(scope="module")
def report(measure):
    return measure("--size", "32", "--batch-size", "1", "2", "--repeats", "2")


def test_a_row_for_each_phase_and_batch(report):
    rows = [(row["phase"], row["batch_size"]) for row in report["rows"]]
    assert rows == [("random", 1), ("random", 2), ("uncertain", 1), ("uncertain", 2)]
    for row in report["rows"]:
        assert len(row["seconds"]) == 2
        assert min(row["seconds"]) > 0
        # At least that of torch itself.
        assert 1e8 < row["peak_memory"] < 1e10
    assert report["environment"]["device"] == "CPU"
    assert report["matrix_peak"] > 1e8


def test_operations_grow_with_the_batch_and_the_masks_cams(report):
    counts = [row["operations"] for row in report["rows"]]
    assert counts[1] == pytest.approx(2 * counts[0], rel=0.05)
    assert counts[2] > counts[0]
    assert counts[3] > counts[1]


def test_every_part_is_timed_and_counted(report, tool):
    for row in report["rows"]:
        assert row["parts"].keys() == row["part_operations"].keys() == PARTS
        assert min(row["parts"].values()) > 0
        counted = {name for name, count in row["part_operations"].items() if count}
        assert counted == {"CAMs", "student", "teacher", "losses", "backward"}
        assert sum(row["part_operations"].values()) == row["operations"]
    assert len(tool.parts_table(report["rows"], 1e9).splitlines()) == 2 + 9 + 1


def test_growth_is_counted_without_taking_times(measure, capsys):
    rows = measure(
        "--repeats", "0", "--phase", "uncertain", "--size", "32", "64",
        "--labels", "1", "3", "--num-classes", "5", "40",
    )["rows"]  # fmt: skip
    kinds = [(row["size"], row["labels"], row["num_classes"]) for row in rows]
    assert kinds == [(32, 1, 5), (64, 1, 5), (32, 3, 5), (32, 1, 40)]
    first, larger, _, of_more_classes = (row["operations"] for row in rows)
    assert larger > 3.5 * first
    assert of_more_classes > first
    head = "| phase | px | batch | labels | classes | TFLOP | memory, GB |\n"
    assert head in capsys.readouterr().out


def test_a_step_without_self_distillation_of_the_configs_size(measure):
    (row,) = measure("--repeats", "1", *NO_DISTILLATION)["rows"]
    assert (row["phase"], row["size"]) == ("none", 32)
    counted = {name for name, count in row["part_operations"].items() if count}
    assert counted == {"CAMs", "student", "losses", "backward"}


ROW = dict(
    phase="random", size=448, batch_size=4, labels=2, num_classes=20, seconds=[2, 1, 4],
    operations=3e12, peak_memory=4_400_000_000,
    parts=dict(student=1.0, backward=2.0, data=1.0),
    part_operations=dict(student=1e12, backward=2e12, data=0),
)  # fmt: skip


def test_tables(tool):
    head, _, line = tool.table([ROW], 6e12).splitlines()
    assert line == "| random | 448 | 4 | 2 | 20 | 3 | 4.40 | 2 ± 1.5 | 2 | 25% |"
    assert head.count("|") == line.count("|")
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


def test_refuses_fewer_repeats_than_0(tool, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(["config.py", "--repeats", "-1"])
    assert "--repeats: expected 0 or more" in capsys.readouterr().err
