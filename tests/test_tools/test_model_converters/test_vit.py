import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer

from mmseg_fsr.utils import load_state_dict_file
from tests.test_utils.timm_vit import timm_weights


@pytest.fixture
def tool(load_tool):
    return load_tool("vit")


def test_result_fills_a_vit_of_mmpretrain(tool, tmp_path, capsys):
    weights = timm_weights(channels=8, depth=2, grid=2, patch_size=8)
    source, out = tmp_path / "timm.pth", tmp_path / "vit.pth"
    torch.save(dict(model=weights), source)
    tool.main([str(source), str(out)])
    printed = capsys.readouterr().out
    count = len(weights) - 2
    expected = f"wrote {out}: {count} tensors; left out: head.bias, head.weight"
    assert expected in printed

    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=32)
    vit = VisionTransformer(arch=arch, img_size=16, patch_size=8)
    vit.load_state_dict(load_state_dict_file(out), strict=True)
    assert torch.equal(
        vit.layers[1].attn.qkv.weight, weights["blocks.1.attn.qkv.weight"]
    )
    assert torch.equal(vit.ln1.bias, weights["norm.bias"])


def test_other_weights_are_refused(tool, tmp_path):
    source = tmp_path / "resnet.pth"
    torch.save({"conv1.weight": torch.zeros(1)}, source)
    with pytest.raises(SystemExit, match=r"error: .*resnet\.pth holds no ViT by timm"):
        tool.main([str(source), str(tmp_path / "out.pth")])
    assert not (tmp_path / "out.pth").exists()


def test_missing_file(tool, tmp_path):
    with pytest.raises(SystemExit, match=r"error: weights file .*none\.pth does not"):
        tool.main([str(tmp_path / "none.pth"), str(tmp_path / "out.pth")])
