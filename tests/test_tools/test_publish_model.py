import hashlib
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import HistoryBuffer

from tests.support.file_server import served
from tests.support.project_files import load_tool

CLASSES = ("background", "cat")
PALETTE = [[0, 0, 0], [9, 9, 9]]


def checkpoint(**changes):
    """What mmengine saves in training."""
    student = {
        f"{part}.weight": torch.randn(8, 8)
        for part in ("backbone", "decode_head", "distill_head")
    }
    teacher = {f"teacher.{name}": x + 1 for name, x in student.items()}
    dataset_meta = dict(classes=CLASSES, palette=PALETTE, label_map=None)
    content = dict(
        meta=dict(cfg="secret = 1", dataset_meta=dataset_meta),
        state_dict=student | teacher,
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1.0], [1]))),
        optimizer=dict(state={0: torch.zeros(9, 9)}),
    )
    return content | changes


@pytest.fixture
def publish(tmp_path):
    """Publishes a checkpoint as ``fsr.pth`` and gives back the file."""
    tool = load_tool("publish_model")

    def publish(content, *arguments):
        torch.save(content, tmp_path / "iter_4.pth")
        folder = tmp_path / "new"
        tool.main([str(tmp_path / "iter_4.pth"), str(folder / "fsr.pth"), *arguments])
        (out,) = folder.iterdir()
        return out

    return publish


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_one_network_and_its_classes(publish, capsys, network):
    content = checkpoint()
    arguments = ["--network", network] if network == "teacher" else []
    out = publish(content, *arguments)
    digest = hashlib.sha256(out.read_bytes()).hexdigest()
    assert out.name == f"fsr-{digest[:8]}.pth"

    published = torch.load(out, weights_only=True)
    assert published.keys() == {"meta", "state_dict"}
    dataset_meta = dict(classes=CLASSES, palette=PALETTE)
    assert published["meta"] == dict(dataset_meta=dataset_meta)
    names = ["backbone.weight", "decode_head.weight", "distill_head.weight"]
    assert list(published["state_dict"]) == names
    prefix = "teacher." * (network == "teacher")
    for name, tensor in published["state_dict"].items():
        assert torch.equal(tensor, content["state_dict"][f"{prefix}{name}"])

    wrote, supervision, sizes, sha, left_out = capsys.readouterr().out.splitlines()
    (other,) = {"student", "teacher"} - {network}
    assert wrote == f"wrote {out}: 3 tensors of the {network}, 2 class names"
    assert supervision == "supervision: not stated"
    assert sizes.endswith("MB after")
    assert sha == f"SHA-256 {digest}"
    assert left_out == (
        f"left out: the {other} (3 tensors), meta but for classes and palette, "
        "message_hub, optimizer"
    )

    with pytest.raises(SystemExit, match=rf"{out.name} exists: .* --overwrite"):
        publish(content, *arguments)
    assert publish(content, *arguments, "--overwrite") == out


def test_a_view_brings_nothing_else_along(publish):
    content = checkpoint()
    whole = torch.randn(1000, 8, 8)
    content["state_dict"]["backbone.weight"] = whole[5]
    out = publish(content)
    assert out.stat().st_size < 10_000
    published = torch.load(out, weights_only=True)["state_dict"]
    assert torch.equal(published["backbone.weight"], whole[5])


def test_a_checkpoint_at_an_address(tmp_path, capsys):
    torch.save(checkpoint(), tmp_path / "iter_4.pth")
    tool = load_tool("publish_model")
    with served(tmp_path) as address:
        tool.main([f"{address}/iter_4.pth", str(tmp_path / "fsr.pth")])
        (out,) = tmp_path.glob("fsr-*.pth")
        assert f"wrote {out}: 3 tensors" in capsys.readouterr().out
        with pytest.raises(SystemExit, match=r"^error: .*404"):
            tool.main([f"{address}/iter_5.pth", str(tmp_path / "fsr.pth")])


def test_meta_is_there_without_names(publish):
    # mmseg's init_model asks for it.
    out = publish(checkpoint(meta={}))
    assert torch.load(out, weights_only=True)["meta"] == {}


def test_what_is_kept_of_meta_is_told(publish, capsys):
    meta = dict(classes=CLASSES, palette=PALETTE, pixel_range=(0, 4095))
    out = publish(checkpoint(meta=dict(dataset_meta=meta)))
    assert torch.load(out, weights_only=True)["meta"] == dict(dataset_meta=meta)
    told = "meta but for classes, palette and pixel_range, message_hub"
    assert told in capsys.readouterr().out


def test_supervision_goes_with_the_weights(publish, capsys):
    lines = ["photographs: image labels", "resnet50.pth: ImageNet-1k labels"]
    out = publish(checkpoint(meta=dict(cfg="secret = 1", supervision=lines)))
    assert torch.load(out, weights_only=True)["meta"] == dict(supervision=lines)
    told = capsys.readouterr().out
    assert f"supervision: {'; '.join(lines)}\n" in told
    assert "meta but for supervision" in told


def test_the_networks_config_goes_with_the_weights_and_no_path(publish, capsys):
    model = dict(
        type="WeakSegmentor",
        backbone=dict(
            type="FSRBackbone",
            backbone=dict(type="ResNet", depth=50, out_indices=(2, 3), style="caffe"),
            init_cfg=dict(type="Pretrained", checkpoint="/home/me/secret.pth"),
        ),
        pseudo_label_generator=dict(affinity=dict(checkpoint="/home/me/secret.pth")),
        decode_head=dict(type="FCNHead", loss_decode=dict(type="CrossEntropyLoss")),
    )
    preprocessor = dict(type="SegDataPreProcessor", mean=[1.0, 2, 3])
    text = Config(dict(model=model, data_preprocessor=preprocessor)).pretty_text
    out = publish(checkpoint(meta=dict(cfg=text)))
    inner = dict(type="ResNet", depth=50, out_indices=[2, 3], style="caffe")
    expected = dict(
        backbone=dict(type="FSRBackbone", backbone=inner),
        decode_head=dict(type="FCNHead"),
        data_preprocessor=preprocessor,
    )
    meta = torch.load(out, weights_only=True)["meta"]
    assert json.loads(json.dumps(meta)) == dict(network=expected)
    assert "meta but for network" in capsys.readouterr().out
    # It can be published again.
    (out.parent / "again").mkdir()
    load_tool("publish_model").main([str(out), str(out.parent / "again" / "fsr.pth")])
    (again,) = (out.parent / "again").iterdir()
    assert torch.load(again, weights_only=True)["meta"] == meta


def test_a_config_that_is_no_data_is_left_out(publish, capsys, tmp_path):
    text = f"model = dict(a=__import__('os').mkdir({str(tmp_path / 'made')!r}))"
    out = publish(checkpoint(meta=dict(cfg=text)))
    assert torch.load(out, weights_only=True)["meta"] == {}
    assert "cannot be read as data, line 1: expected" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("state_dict", "arguments", "message"),
    [
        ({"backbone.weight": torch.ones(1)}, [], "no segmentor: has no decode_head"),
        ({"conv1.weight": torch.ones(1)}, ["--network", "teacher"], "no teacher"),
        ({}, [], "holds no tensors by name"),
    ],
)
def test_bad_input(publish, tmp_path, state_dict, arguments, message):
    with pytest.raises(SystemExit, match=rf"^error: .*iter_4\.pth:? .*{message}"):
        publish(checkpoint(state_dict=state_dict), *arguments)
    assert not (tmp_path / "new").exists()


def test_another_ending(tmp_path):
    with pytest.raises(SystemExit, match=r"fsr\.onnx: expected .* ends in \.pth"):
        load_tool("publish_model").main(["x.pth", str(tmp_path / "fsr.onnx")])


def test_a_published_file_is_not_published_onto_itself(publish, tmp_path):
    out = publish(checkpoint())
    before = out.read_bytes()
    (tmp_path / "link.pth").symlink_to(out)
    for path in (out, tmp_path / "link.pth"):
        with pytest.raises(SystemExit, match=r"is the same file as .*, which is read"):
            load_tool("publish_model").main(
                [str(path), str(tmp_path / "new" / "fsr.pth"), "--overwrite"]
            )
    assert out.read_bytes() == before
