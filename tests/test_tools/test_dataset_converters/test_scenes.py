import pytest

from tests.support.project_files import load_tool


def test_writes_once_and_says_so(tmp_path, capsys):
    tool, out = load_tool("dataset_converters/scenes"), tmp_path / "data" / "scenes"

    def write(train, *options):
        size = ["--train", str(train), "--val", "1", "--size", "32"]
        tool.main([str(out), *size, *options])
        return capsys.readouterr().out

    assert f"wrote 2 + 1 scenes in {out}" in write(2)
    assert f"found 2 + 1 scenes in {out}" in write(2)
    with pytest.raises(SystemExit, match=r"error: .* scenes of other parameters"):
        write(3)
    with pytest.raises(SystemExit, match="error: train and val must be at least 1"):
        write(0)
    write(3, "--overwrite")
    assert len(list((out / "JPEGImages").iterdir())) == 4
