import pytest
import torch
from mmseg.registry import MODELS

from mmseg_fsr.utils import convert_official_state_dict
from tests.test_models.test_segmentors.golden_model import golden_model_cfg


@pytest.mark.parametrize("network", ["student", "teacher"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_parameter_has_its_place(golden, network, prefix):
    official = {f"{prefix}{k}": v for k, v in golden.state_dict(network).items()}
    converted = convert_official_state_dict(official)
    segmentor = MODELS.build(golden_model_cfg(golden.meta)).teacher
    own = segmentor.state_dict()
    assert len(converted) == len(official)
    assert own.keys() - converted.keys() == {
        "distill_head.class_center.value",
        "distill_head.patch_center.value",
    }
    assert {k: v.shape for k, v in converted.items()} == {
        k: own[k].shape for k in converted
    }


def test_values_stay_and_the_class_position_goes(golden):
    official = golden.state_dict("student")
    converted = convert_official_state_dict(official)
    assert torch.equal(
        converted["backbone.pos_embed"], official["encoder.pos_embed"][:, 1:]
    )
    assert torch.equal(
        converted["backbone.aggregator.blocks.1.attn.v.weight"],
        official["encoder.cls_blocks.1.attn.v.weight"],
    )
    assert torch.equal(
        converted["distill_head.last_layer.parametrizations.weight.original1"],
        official["projector.last_layer.weight_v"],
    )
    # The argument is left as it was.
    assert "encoder.pos_embed" in official


@pytest.mark.parametrize("name", ["layer1.0.conv1.weight", "neck.weight"])
def test_foreign_names_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is no parameter of the authors'"):
        convert_official_state_dict({name: torch.zeros(1)})


def test_parts_alone():
    converted = convert_official_state_dict({"decoder.conv8.weight": torch.zeros(1)})
    assert list(converted) == ["decode_head.conv_seg.weight"]
