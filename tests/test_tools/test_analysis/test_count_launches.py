import json

import pytest

from tests.support.project_files import load_tool
from tests.support.runs import own_globals


@pytest.fixture
def tool(monkeypatch):
    """The tool, with made-up counts."""
    tool = load_tool("analysis/count_launches")
    part = dict(bytes=2e9, operations=1e12, seconds_of_launches=0.001)

    def count_step(cfg, batch_size, amp, random):
        return {
            "fast": part | dict(launches=3, seconds=0.002),
            "slow": part | dict(launches=batch_size, seconds=0.006),
        }

    monkeypatch.setattr(tool, "count_step", count_step)
    return tool


def test_a_table_for_each_batch(tool, tiny, tmp_path, capsys):
    out = tmp_path / "launches.json"
    with own_globals():
        tool.main([str(tiny), "--batch-size", "1", "8", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "computed, not measured" in printed
    lines = printed.splitlines()
    assert lines[-5:] == [
        "| part | launches | GB | TFLOP | ms | of it bound by launches |",
        "| --- | --- | --- | --- | --- | --- |",
        "| slow | 8 | 2.00 | 1.00 | 6.00 | 17% |",
        "| fast | 3 | 2.00 | 1.00 | 2.00 | 50% |",
        "| step | 11 | 4.00 | 2.00 | 8.00 | 25% |",
    ]
    rows = json.loads(out.read_text())["rows"]
    assert [row["batch_size"] for row in rows] == [1, 8]
    assert rows[1]["parts"]["slow"]["launches"] == 8


def test_a_missing_config_is_one_line(tool, capsys):
    with pytest.raises(SystemExit) as ended:
        tool.main(["gone.py"])
    assert ended.value.code == 2
    assert "config not found: gone.py" in capsys.readouterr().err
