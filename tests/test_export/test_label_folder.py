import json

import pytest

from mmseg_fsr.export.label_folder import LabelFolder

NAMES = ["a", "sub/b", "c"]
SETTINGS = dict(source="cam", bkg_thr=0.5, crf=None, sizes=(1, 2))


@pytest.fixture
def root(tmp_path):
    return tmp_path / "labels"


def folder_of(root, **changes):
    return LabelFolder(root, {**SETTINGS, **changes}, dict(config="c.py"))


def write(folder, name):
    path = folder.path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode())


def manifest(root):
    return json.loads((root / "manifest.json").read_text())


@pytest.fixture
def half(root):
    """A folder of an export that broke off after two of three images."""
    folder = folder_of(root)
    assert folder.missing(NAMES, overwrite=False) == [0, 1, 2]
    assert not root.exists()
    folder.begin(NAMES, overwrite=False)
    for name in NAMES[:2]:
        write(folder, name)
    return folder


def test_names_keep_their_folders(root):
    assert folder_of(root).path("sub/b") == root / "sub" / "b.png"


@pytest.mark.parametrize("name", ["../a", "/a", "x/../../a"])
def test_nothing_is_written_outside(root, name):
    with pytest.raises(
        ValueError, match=f"the data set names image '{name}', which leads out"
    ):
        folder_of(root).missing([name], overwrite=False)


def test_the_manifest_is_there_from_the_start(half, root):
    begun = manifest(root)
    assert begun["settings"] == {**SETTINGS, "sizes": [1, 2]}
    assert begun["config"] == "c.py"
    assert begun["started"]
    assert begun["finished"] is None


def test_goes_on_with_the_same_settings(half, root):
    path = root / "manifest.json"
    path.write_text(json.dumps({**manifest(root), "started": "yesterday"}))
    again = folder_of(root)
    assert again.missing(NAMES, overwrite=False) == [2]
    again.begin(NAMES, overwrite=False)
    assert (root / "a.png").exists()
    assert manifest(root)["started"] == "yesterday"


def test_completes_the_manifest(half, root):
    half.complete(dict(labels=3, undecided=0.25))
    done = manifest(root)
    assert done["finished"] >= done["started"]
    assert done["labels"] == 3
    assert done["undecided"] == 0.25
    assert done["settings"]["source"] == "cam"
    # Broken off again, it is no longer complete.
    folder_of(root).begin(NAMES, overwrite=False)
    assert manifest(root)["finished"] is None
    assert "labels" not in manifest(root)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(source="par"), "source: cam there, par now"),
        (dict(bkg_thr=0.4), "bkg_thr: 0.5 there, 0.4 now"),
        (dict(crf=dict(type="DenseCRF")), 'crf: null there, {"type": "DenseCRF"} now'),
        (dict(extra=1), "extra: null there, 1 now"),
        (dict(source="x" * 64), "source: cam there, xxxxxxxxxxxx... now"),
    ],
)
def test_other_settings_are_refused(half, root, changes, words):
    before = manifest(root)
    with pytest.raises(FileExistsError) as caught:
        folder_of(root, **changes).missing(NAMES, overwrite=False)
    assert f"{root} holds label maps of other settings ({words})" in str(caught.value)
    assert "--overwrite" in str(caught.value)
    assert manifest(root) == before
    assert (root / "a.png").exists()


def test_overwriting_starts_over(half, root):
    other = folder_of(root, source="par")
    assert other.missing(NAMES, overwrite=True) == [0, 1, 2]
    assert (root / "a.png").exists()
    other.begin(NAMES, overwrite=True)
    assert not list(root.rglob("*.png"))
    assert manifest(root)["settings"]["source"] == "par"
    # Broken off here, it goes on without the argument.
    assert folder_of(root, source="par").missing(NAMES, overwrite=False) == [0, 1, 2]


@pytest.mark.parametrize("overwrite", [False, True])
def test_masks_are_not_replaced(root, overwrite):
    folder = folder_of(root)
    write(folder, "a")
    with pytest.raises(FileExistsError, match=r"no manifest\.json: they may be masks"):
        folder.missing(NAMES, overwrite)
    assert (root / "a.png").read_bytes() == b"a"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": []}'])
def test_another_manifest_is_refused(root, text):
    root.mkdir()
    (root / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json is no manifest"):
        folder_of(root).missing(NAMES, overwrite=True)
