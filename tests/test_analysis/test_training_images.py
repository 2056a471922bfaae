import os

import pytest
from mmengine.config import Config

from mmseg_fsr.analysis.training_images import training_images

HERE = dict(data_prefix=dict(img_path="images"))


def meta(dataset, loader="train_dataloader"):
    return dict(cfg=Config({loader: dict(dataset=dataset)}).pretty_text)


def test_those_of_the_list(tmp_path):
    (tmp_path / "train.txt").write_text("a\nb.jpg\nfolder/c\n")
    dataset = dict(type="X", ann_file="train.txt", data_root=str(tmp_path), **HERE)
    wrapped = dict(type="RepeatDataset", dataset=dict(type="Y", dataset=dataset))
    for settings in (dataset, wrapped):
        found = training_images(meta(settings))
        assert [found.include(x, HERE) for x in ("a", "b", "folder/c", "c", "d")] == [
            True, True, True, False, False,
        ]  # fmt: skip
        assert found.include("a.JPG", HERE)
        assert found.include("a", dict(data_prefix=dict(img_path="images/")))
        assert found.include("a", dict(data_prefix=dict(img_path="val"))) is False
        # The same folder, if the root has the rest of the path.
        for other in ("", "data/pets/images"):
            assert found.include("a", dict(data_prefix=dict(img_path=other))) is None


@pytest.mark.parametrize("settings", [HERE, HERE | dict(ann_file="")])
def test_without_a_list_all_of_the_folder(settings):
    found = training_images(meta(settings))
    assert found.include("any", HERE)
    assert not found.include("any", dict(data_prefix=dict(img_path="others")))


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        dict(cfg=3),
        dict(network=dict(backbone={})),
        dict(cfg="train_dataloader = dict(dataset=dict(ann_file=open('x')))"),
        dict(cfg="train_dataloader = dict(dataset='text')"),
        dict(cfg="train_dataloader = dict(dataset=dict(data_prefix=[1]))"),
        dict(cfg="train_dataloader = dict(dataset=dict(ann_file=3))"),
        meta(HERE, "val_dataloader"),
        meta(dict(ann_file="gone.txt", **HERE)),
        meta(dict(ann_file="/dev/zero", **HERE)),
        meta(dict(type="ConcatDataset", datasets=[HERE, HERE])),
    ],
)
def test_what_it_does_not_tell_is_unknown(given):
    assert training_images(given) is None


def test_a_list_that_cannot_be_read_is_unknown(tmp_path):
    pipe = tmp_path / "pipe.txt"
    os.mkfifo(pipe)
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe")
    for name in ("pipe.txt", "bad.txt"):
        assert training_images(meta(dict(ann_file=str(tmp_path / name)))) is None
