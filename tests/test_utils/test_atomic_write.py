import contextlib

import pytest

from mmseg_fsr.utils.atomic_write import atomic_write, write_unless_other


@pytest.mark.parametrize(
    ("mode", "content"), [("w", "Käse\n"), ("wb", "Käse\n".encode())]
)
def test_replaces_the_file_readable_for_all(tmp_path, mode, content):
    path = tmp_path / "x"
    path.write_text("old")
    with atomic_write(path, mode) as file:
        file.write(content)
        # Not before it is complete.
        assert path.read_text() == "old"
    assert path.read_bytes() == "Käse\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_names_may_be_as_long_as_file_systems_allow(tmp_path):
    path = tmp_path / ("猫" * 83 + ".json")
    assert len(path.name.encode()) == 254
    with atomic_write(path, "w") as file:
        file.write("new")
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("old", ["old", None])
def test_failed_write_leaves_what_was_there(tmp_path, error, old):
    path = tmp_path / "x"
    if old is not None:
        path.write_text(old)

    def broken_off():
        with atomic_write(path, "w") as file:
            file.write("half")
            raise error

    with pytest.raises(error):
        broken_off()
    left = {item.name: item.read_text() for item in tmp_path.iterdir()}
    assert left == ({} if old is None else {"x": old})


def test_missing_folder_is_an_error(tmp_path):
    path = tmp_path / "none" / "x"
    with pytest.raises(FileNotFoundError) as failed, atomic_write(path, "w"):
        pass
    assert failed.value.filename == str(path)


@pytest.mark.parametrize("old", [None, "new", "old"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_keeps_a_file_of_other_contents(tmp_path, old, overwrite):
    path = tmp_path / "x.json"
    if old is not None:
        path.write_text(old)
    kept = old == "old" and not overwrite
    error = pytest.raises(
        FileExistsError, match=r"x\.json exists and has other contents"
    )
    with error if kept else contextlib.nullcontext():
        write_unless_other(path, lambda draft: draft.write_text("new"), overwrite)
    assert path.read_text() == ("old" if kept else "new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_draft_leaves_nothing(tmp_path):
    def fail(draft):
        draft.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_unless_other(tmp_path / "x.txt", fail, overwrite=True)
    assert not list(tmp_path.iterdir())
