import json

import pytest
from mmengine.config import Config

from tests.project_files import load_tool
from tests.test_end_to_end.runs import own_globals
from tests.tiny_config import write_tiny_config


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


@pytest.mark.slow
def test_every_part_is_timed(report):
    for row in report["rows"]:
        assert row["parts"].keys() == {
            "data", "CAMs", "student", "teacher", "losses", "dense energy",
            "refinement (PAR)", "backward", "optimiser, teacher's update",
        }  # fmt: skip
        assert min(row["parts"].values()) > 0


@pytest.mark.slow
def test_tables_have_a_line_for_each_row_and_part(report, tool):
    assert len(tool.table(report["rows"], 1e9).splitlines()) == 2 + 4
    assert len(tool.parts_table(report["rows"]).splitlines()) == 2 + 9


def test_table():
    row = dict(
        phase="random", size=448, batch_size=4, labels=2, seconds=[2.0, 1.0, 4.0],
        plain_seconds=[6.0, 5.0, 9.0], plain_operations=5e12, operations=3e12,
        peak_memory=4_400_000_000,
    )  # fmt: skip
    *_, line = load_tool("analysis/benchmark_step").table([row], 6e12).splitlines()
    assert (
        line
        == "| random | 448 | 4 | 2 | 2 ± 1.5 | 2 | 3 | 25% | 4.40 | 5 | 6 | 3.00x |"
    )


def test_against_plain_refuses_another_network(tool):
    cfg = Config(dict(model=dict(
        backbone=dict(type="FSRBackbone"), distill_head=dict(),
        decode_head=dict(type="FCNHead"),
    )))  # fmt: skip
    with pytest.raises(ValueError, match="FSRViT with LargeFOVHead, got FSRBackbone"):
        tool.PlainStep(cfg, None, None)
