import pytest

from mmseg_fsr.checkpoints.inert_pickle import InertObject
from mmseg_fsr.checkpoints.reading import plain_dataset_meta

OWN = dict(classes=("a", "b"), palette=[[0, 0, 0], [1, 2, 3]])


def test_classes_and_palette_alone():
    meta = dict(cfg="x", dataset_meta=dict(OWN, label_map=None, ignore_index=255))
    assert plain_dataset_meta(meta) == OWN


@pytest.mark.parametrize("value", [InertObject(), [[0, InertObject()]], None, {}])
def test_what_is_no_plain_value_is_left_out(value):
    meta = dict(dataset_meta=dict(OWN, palette=value))
    assert plain_dataset_meta(meta) == dict(classes=OWN["classes"])


@pytest.mark.parametrize(
    "meta", [None, {}, InertObject(), dict(dataset_meta=None), dict(dataset_meta=[1])]
)
def test_a_checkpoint_without_any_has_none(meta):
    assert plain_dataset_meta(meta) == {}
