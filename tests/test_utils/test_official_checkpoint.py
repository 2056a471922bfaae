import pytest
import torch
from mmseg.registry import MODELS

from mmseg_fsr.utils import convert_official_state_dict, convert_to_official
from tests.reference.golden_model import golden_model_cfg


@pytest.mark.parametrize("network", ["student", "teacher"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_parameter_has_its_place(golden, network, prefix):
    official = {f"{prefix}{k}": v for k, v in golden.state_dict(network).items()}
    converted = convert_official_state_dict(official).tensors
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
    converted = convert_official_state_dict(official).tensors
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


@pytest.mark.parametrize(
    "name",
    [
        "layer1.0.conv1.weight",
        "neck.weight",
        "encoder.head.weight",
        "encoder.blocks.0.ls1.gamma",
    ],
)
def test_foreign_names_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is no parameter of the authors'"):
        convert_official_state_dict({name: torch.zeros(1)})


def test_parts_alone():
    converted = convert_official_state_dict(
        {"decoder.conv8.weight": torch.zeros(1)}
    ).tensors
    assert list(converted) == ["decode_head.conv_seg.weight"]


# ------------------------------------------------------------------ and back


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_theirs_ours_theirs(golden, network):
    official = golden.state_dict(network)
    there = convert_official_state_dict(official)
    back = convert_to_official(there.tensors)
    assert back.tensors.keys() == official.keys()
    unused = back.tensors.pop("encoder.pos_embed")
    assert torch.equal(unused[:, 1:], official["encoder.pos_embed"][:, 1:])
    assert not unused[:, 0].any()
    for name, tensor in back.tensors.items():
        assert torch.equal(tensor, official[name]), name
    (position,) = there.left_out
    assert position.startswith("encoder.pos_embed[:, 0]")
    (position,) = back.lacking
    assert position.startswith("encoder.pos_embed[:, 0]")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_ours_theirs_ours(golden, dtype):
    own = MODELS.build(golden_model_cfg(golden.meta)).teacher.to(dtype).state_dict()
    there = convert_to_official(own)
    back = convert_official_state_dict(there.tensors)
    assert there.left_out == back.lacking
    assert own.keys() - back.tensors.keys() == set(there.left_out)
    for name, tensor in back.tensors.items():
        assert torch.equal(tensor, own[name]), name
        assert tensor.dtype == dtype


def test_missing_and_foreign_parts_are_named(golden):
    own = convert_official_state_dict(golden.state_dict("student")).tensors
    own = {k: x for k, x in own.items() if not k.startswith("distill_head.mlp")}
    own["backbone.layers.0.attn.gamma1.weight"] = torch.zeros(1)
    message = (
        r"as in fsr_vit-b: distill_head\.mlp\. is missing; "
        r"backbone\.layers\.0\.attn\.gamma1\.weight has no counterpart$"
    )
    with pytest.raises(ValueError, match=message):
        convert_to_official(own)


def test_each_head_is_needed(golden):
    own = convert_official_state_dict(golden.state_dict("student")).tensors
    for name in own:
        if "layers.0." not in name and "backbone" not in name and "mlp" not in name:
            rest = {k: x for k, x in own.items() if k != name}
            with pytest.raises(ValueError, match="is missing"):
                convert_to_official(rest)
