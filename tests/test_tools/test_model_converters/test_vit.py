import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer
from mmseg.registry import MODELS

from mmseg_fsr.utils import load_state_dict_file, save_state_dict_file
from tests.reference.golden_model import golden_model_cfg
from tests.support.project_files import load_tool
from tests.support.timm_vit import timm_weights

TIMM = dict(channels=8, depth=2, grid=3, patch_size=8)
VIT = dict(
    arch=dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=32),
    img_size=24,
    patch_size=8,
)


@pytest.fixture
def convert(tmp_path):
    """Converts ``x.pth`` and gives back the new file."""
    tool = load_tool("model_converters/vit")

    def convert(*arguments):
        tool.main([str(tmp_path / "x.pth"), str(tmp_path / "out.pth"), *arguments])
        return tmp_path / "out.pth"

    return convert


def test_timm_to_mmpretrain(convert, tmp_path, capsys):
    weights = timm_weights(**TIMM)
    torch.save(weights, tmp_path / "x.pth")
    out = convert("--to", "mmpretrain")
    assert f"wrote {out}: {len(weights) - 2} tensors\n" in capsys.readouterr().out
    init_cfg = dict(type="Pretrained", checkpoint=str(out), prefix="backbone.")
    vit = VisionTransformer(**VIT, init_cfg=init_cfg)
    vit.init_weights()
    assert torch.equal(vit.layers[1].ln2.bias, weights["blocks.1.norm2.bias"])


def test_timm_to_ours(convert, tmp_path):
    weights = timm_weights(**TIMM)
    torch.save(weights, tmp_path / "x.pth")
    converted = load_state_dict_file(convert("--to", "fsr"))
    assert torch.equal(converted["backbone.aggregator.cls_token"], weights["cls_token"])


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_ours_to_timm(convert, golden, tmp_path, network, capsys):
    segmentor = MODELS.build(golden_model_cfg(golden.meta))
    torch.nn.init.normal_(segmentor.backbone.ln1.weight)
    save_state_dict_file(tmp_path / "x.pth", segmentor.state_dict())
    out = convert("--to", "timm", "--network", network)
    # As timm reads it: by name, without more around it.
    converted = torch.load(out, weights_only=True)
    expected = segmentor if network == "student" else segmentor.teacher
    assert torch.equal(converted["norm.weight"], expected.backbone.ln1.weight)
    printed = capsys.readouterr().out
    for part in ("aggregator (", "mask_token (1", "decode_head (3", "distill_head ("):
        assert part in printed


@pytest.mark.parametrize(
    ("weights", "arguments", "message"),
    [
        (timm_weights(**TIMM), ["--network", "teacher"], "holds no teacher"),
        ({"conv1.weight": torch.ones(1)}, [], "no plain ViT: .* found conv1"),
        ({"backbone.backbone.conv1.weight": torch.ones(1)}, [], "no plain ViT"),
    ],
    ids=["no teacher", "resnet", "wrapped resnet"],
)
def test_bad_input(convert, tmp_path, weights, arguments, message):
    torch.save(weights, tmp_path / "x.pth")
    with pytest.raises(SystemExit, match=rf"^error: .*x\.pth: .*{message}"):
        convert("--to", "mmpretrain", *arguments)
    assert not (tmp_path / "out.pth").exists()


def test_an_older_file_stays_unless_told(convert, tmp_path):
    torch.save(timm_weights(**TIMM), tmp_path / "x.pth")
    (tmp_path / "out.pth").write_text("old")
    with pytest.raises(SystemExit, match=r"out\.pth exists: .* --overwrite"):
        convert("--to", "fsr")
    assert (tmp_path / "out.pth").read_text() == "old"
    assert load_state_dict_file(convert("--to", "fsr", "--overwrite"))
