import hashlib

import numpy as np
from mmengine.config import ConfigDict

from mmseg_fsr.export.label_folder import config_sha256, file_sha256, labels_sha256
from tests.support.file_server import served


def test_file_sha256_is_that_of_the_contents(tmp_path):
    content = np.random.default_rng(0).bytes((1 << 20) + 5)
    (tmp_path / "x").write_bytes(content)
    assert file_sha256(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_file_sha256_of_an_address_is_that_of_the_file(tmp_path):
    (tmp_path / "x").write_bytes(b"weights")
    with served(tmp_path) as address:
        assert file_sha256(f"{address}/x") == file_sha256(tmp_path / "x")


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
    ):
        assert labels_sha256(*other) != one
