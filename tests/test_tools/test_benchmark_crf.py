import json
import sys

import pytest

from tests.support.project_files import load_tool


@pytest.fixture
def run(monkeypatch):
    def run_tool(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark_crf.py", *map(str, arguments)])
        load_tool("analysis/benchmark_crf").main()

    return run_tool


SMALL = ("--size", 33, 40, "--images", 2, "--runs", 3, "--network", 0.02)


def test_engines_are_measured_alone_and_beside_a_network(run, tmp_path, capsys):
    pytest.importorskip("pydensecrf", exc_type=ImportError)
    out = tmp_path / "figures.json"
    run(*SMALL, "--workers", 1, 2, "--out", out)
    figures = json.loads(out.read_text())
    assert figures["settings"]["size"] == [33, 40]
    assert figures["machine"].keys() >= {"date", "cpus", "load", "torch", "pydensecrf2"}
    rows = figures["results"]
    assert [row["engine"] for row in rows] == ["DenseCRF", "PyDenseCRF", "PyDenseCRF"]
    for row in rows:
        for rates in (row["alone"], row["beside_network"]):
            assert 0 < rates["min"] <= rates["median"] <= rates["max"]
        assert row["beside_network"]["max"] < 1 / 0.02
    printed = capsys.readouterr().out
    assert "| PyDenseCRF | CPU, processes: 2 | " in printed
    assert f"| {rows[2]['alone']['median']:.2f} (" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--classes", 1), "must be 1 or more"),
        (("--runs", 0), "must be 1 or more"),
        (("--device", "moon"), "--device moon: "),
        (("--out", "nowhere/a.json"), "--out: no such folder: nowhere"),
    ],
)
def test_bad_arguments_are_one_line(run, arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_older_figures_are_kept(run, tmp_path, capsys):
    out = tmp_path / "figures.json"
    out.write_text("old")
    with pytest.raises(SystemExit):
        run(*SMALL, "--workers", 1, "--out", out)
    assert "exists: replace it with --overwrite" in capsys.readouterr().err
    assert out.read_text() == "old"


def test_without_the_package_it_says_what_to_do(run, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", _without("pydensecrf"))
    with pytest.raises(SystemExit):
        run(*SMALL, "--workers", 1)
    assert "pip install 'mmseg_fsr[crf]'" in capsys.readouterr().err


def _without(package):
    from importlib.util import find_spec

    return lambda name, *rest: None if name == package else find_spec(name, *rest)
