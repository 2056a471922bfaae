import pytest
import torch
from mmseg.registry import MODELS

from mmseg_fsr.checkpoints import convert_official_state_dict, convert_to_official
from tests.reference.golden_model import golden_model_cfg

CENTERS = {"distill_head.class_center.value", "distill_head.patch_center.value"}


@pytest.fixture(scope="module")
def own(golden):
    """Tensors of one of our networks by name."""
    return MODELS.build(golden_model_cfg(golden.meta)).teacher.state_dict()


@pytest.fixture
def converted(golden):
    return convert_official_state_dict(golden.state_dict("student")).tensors


@pytest.mark.parametrize("network", ["student", "teacher"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_theirs_ours_theirs(golden, own, network, prefix):
    official = golden.state_dict(network)
    there = convert_official_state_dict({prefix + k: v for k, v in official.items()})
    assert own.keys() - there.tensors.keys() == CENTERS == set(there.lacking)
    assert all(own[name].shape == x.shape for name, x in there.tensors.items())
    back = convert_to_official(there.tensors)
    assert back.tensors.keys() == official.keys()
    official["encoder.pos_embed"][:, 0] = 0
    for name, tensor in back.tensors.items():
        assert torch.equal(tensor, official[name]), name
    for ((position,),) in ((there.left_out,), (back.lacking,)):
        assert position.startswith("encoder.pos_embed[:, 0]")


def test_ours_theirs_ours(own):
    own = {name: x.half() for name, x in own.items()}
    there = convert_to_official(own)
    back = convert_official_state_dict(there.tensors)
    assert own.keys() - back.tensors.keys() == CENTERS == set(there.left_out)
    for name, tensor in back.tensors.items():
        assert torch.equal(tensor, own[name]), name
        assert tensor.dtype == torch.float16


@pytest.mark.parametrize(
    "name",
    ["layer1.conv1.weight", "encoder.head.weight", "encoder.blocks.0.ls1.gamma"],
)
def test_foreign_names_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is no parameter of the authors'"):
        convert_official_state_dict({name: torch.zeros(1)})


def test_missing_and_foreign_parts_are_named(converted):
    own = {k: x for k, x in converted.items() if "distill_head.mlp" not in k}
    own["backbone.layers.0.attn.gamma1.weight"] = torch.zeros(1)
    message = (
        r"as in fsr_vit-b: backbone\.layers\.0\.attn\.gamma1\.weight has no "
        r"counterpart; distill_head\.mlp\. is missing$"
    )
    with pytest.raises(ValueError, match=message):
        convert_to_official(own)
    for part in ("decode_head.conv_seg", "cam_head.aux_class", "distill_head.last"):
        rest = {k: x for k, x in converted.items() if not k.startswith(part)}
        with pytest.raises(ValueError, match="is missing"):
            convert_to_official(rest)
