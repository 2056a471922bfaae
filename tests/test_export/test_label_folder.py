import hashlib
import json

import numpy as np
import pytest
from mmengine.config import ConfigDict

from mmseg_fsr.export.label_folder import (
    LabelFolder,
    config_sha256,
    file_sha256,
    labels_sha256,
)
from tests.support.file_server import served

NAMES = ["a", "sub/b", "c"]
SETTINGS = dict(source="cam", bkg_thr=0.5, crf=None, sizes=(1, 2))

# ----------------------------------------------------------------- the folder


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


@pytest.mark.parametrize("name", ["../a", "/a", "x/../../a"])
def test_names_keep_their_folders_and_lead_nowhere_else(root, name):
    assert folder_of(root).path("sub/b") == root / "sub" / "b.png"
    message = f"the data set names image '{name}', which leads out"
    with pytest.raises(ValueError, match=message):
        folder_of(root).missing([name], overwrite=False)


def test_goes_on_with_the_same_settings_to_a_complete_manifest(half, root):
    begun = manifest(root)
    assert begun["settings"] == {**SETTINGS, "sizes": [1, 2]}
    assert begun["config"] == "c.py"
    assert begun["finished"] is None
    path = root / "manifest.json"
    path.write_text(json.dumps({**begun, "started": "2000"}))
    again = folder_of(root)
    assert again.missing(NAMES, overwrite=False) == [2]
    again.begin(NAMES, overwrite=False)
    assert (root / "a.png").exists()
    again.complete(dict(labels=3, undecided=0.25))
    done = manifest(root)
    assert done["finished"] > done["started"] == "2000"
    assert (done["labels"], done["undecided"]) == (3, 0.25)
    assert done["settings"] == begun["settings"]
    # Begun once more, it is no longer complete.
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
    # Broken off here, it goes on without the argument.
    assert folder_of(root, source="par").missing(NAMES, overwrite=False) == [0, 1, 2]


@pytest.mark.parametrize("overwrite", [False, True])
def test_masks_are_not_replaced(root, overwrite):
    folder = folder_of(root)
    write(folder, "a")
    with pytest.raises(FileExistsError, match=r"no manifest\.json: they may be masks"):
        folder.missing(NAMES, overwrite)
    assert (root / "a.png").read_bytes() == b"a"


def test_other_files_are_kept_apart(root):
    root.mkdir()
    (root / ".hidden").touch()
    assert folder_of(root).missing(NAMES, overwrite=False) == [0, 1, 2]
    # A mask of an image that is not among the names.
    (root / "z.png").write_bytes(b"z")
    with pytest.raises(FileExistsError, match=r"no manifest\.json, such as z\.png: ch"):
        folder_of(root).missing(NAMES, overwrite=False)
    assert folder_of(root).missing(NAMES, overwrite=True) == [0, 1, 2]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": []}'])
def test_another_manifest_is_refused(root, text):
    root.mkdir()
    (root / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=r"manifest\.json is no manifest"):
        folder_of(root).missing(NAMES, overwrite=True)


# ------------------------------------------------------------------- the sums


def test_file_sha256_is_that_of_the_contents(tmp_path):
    content = np.random.default_rng(0).bytes((1 << 20) + 5)
    (tmp_path / "x").write_bytes(content)
    with served(tmp_path) as address:
        for path in (tmp_path / "x", f"{address}/x"):
            assert file_sha256(path) == hashlib.sha256(content).hexdigest()


def test_config_sha256_sees_values_but_no_order_nor_what_is_left_out():
    one = dict(model=dict(a=1, b=[dict(c=(2, 3))]), pipeline=["x"])
    same = ConfigDict(
        pipeline=["x"],
        model=dict(b=[dict(c=[2, 3], init_cfg=dict(checkpoint="y"))], a=1, cams=True),
    )
    assert config_sha256(one) == config_sha256(same)
    for other in (
        dict(one, pipeline=["y"]),
        dict(one, model=dict(a=1, b=[dict(c=(2, 4))])),
        dict(one, model=dict(a=1, b=[])),
    ):
        assert config_sha256(other) != config_sha256(one)


def test_config_sha256_sees_the_weights_of_frozen_networks():
    def settings(checkpoint):
        backbone = dict(init_cfg=dict(checkpoint=checkpoint))
        return dict(
            affinity=dict(source=dict(type="FrozenFeatures", backbone=backbone))
        )

    assert config_sha256(settings("a")) == config_sha256(settings("a"))
    assert config_sha256(settings("a")) != config_sha256(settings("b"))


def test_labels_sha256_sees_names_order_and_labels():
    names, labels = ["a", "b"], [np.array([1, 0]), np.array([0, 1])]
    one = labels_sha256(names, labels)
    assert one == labels_sha256(names, [label.astype(np.float32) for label in labels])
    for other in (
        (["a", "c"], labels),
        (names[::-1], labels[::-1]),
        (names, labels[::-1]),
        (names, [None, None]),
        (names, [np.array([1, 0]), np.array([0, 0])]),
        (names, [np.array([1, -1]), np.array([0, 1])]),
    ):
        assert labels_sha256(*other) != one
