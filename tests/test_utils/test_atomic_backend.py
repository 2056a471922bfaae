import errno
import os
import resource

import pytest
from mmengine.fileio import get_file_backend

BACKEND = dict(backend="atomic")


@pytest.fixture
def backend(tmp_path):
    return get_file_backend(tmp_path / "x", backend_args=BACKEND)


def test_writes_and_replaces_in_folders_that_it_makes(backend, tmp_path):
    path = tmp_path / "new" / "x"
    for content in (b"one", b"two"):
        backend.put(content, str(path))
        assert backend.get(str(path)) == content
    assert list(path.parent.iterdir()) == [path]


def test_contents_are_on_the_disk_before_the_name(backend, tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def note_fsync(number):
        calls.append(("fsync", os.fstat(number).st_size))
        fsync(number)

    def note_replace(source, target):
        calls.append(("replace", os.stat(source).st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    backend.put(b"one", tmp_path / "x")
    assert calls == [("fsync", 3), ("replace", 3)]


def test_what_does_not_fit_leaves_the_old_file(backend, tmp_path):
    path = tmp_path / "x"
    backend.put(b"old", path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system itself refuses to write on, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="too large") as failed:
            backend.put(bytes(1 << 20), path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (failed.value.errno, failed.value.filename) == (errno.EFBIG, str(path))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
