import pytest

from tests.support.project_files import load_tool


@pytest.fixture
def tool():
    return load_tool("dataset_converters/scenes")


def arguments(out, train="2"):
    return [str(out), "--train", train, "--val", "1", "--size", "32"]


def test_writes_once_and_says_so(tool, tmp_path, capsys):
    out = tmp_path / "data" / "scenes"
    tool.main(arguments(out))
    assert f"wrote 2 + 1 scenes in {out}" in capsys.readouterr().out
    assert len(list((out / "JPEGImages").iterdir())) == 3

    tool.main(arguments(out))
    assert f"found 2 + 1 scenes in {out}" in capsys.readouterr().out


def test_error_is_one_line_without_a_trace(tool, tmp_path):
    out = tmp_path / "scenes"
    tool.main(arguments(out))
    with pytest.raises(SystemExit, match=r"error: .* scenes of other parameters"):
        tool.main(arguments(out, train="3"))
    with pytest.raises(SystemExit, match="error: train and val must be at least 1"):
        tool.main(arguments(tmp_path / "none", train="0"))

    tool.main([*arguments(out, train="3"), "--overwrite"])
    assert len(list((out / "JPEGImages").iterdir())) == 4
