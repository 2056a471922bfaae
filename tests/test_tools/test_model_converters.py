from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmpretrain.models.backbones import VisionTransformer
from mmseg.apis import init_model
from mmseg.registry import MODELS

from mmseg_fsr.checkpoints import (
    convert_official_state_dict,
    load_state_dict_file,
    save_state_dict_file,
)
from mmseg_fsr.engine.hooks import CheckpointGuardHook
from tests.reference.golden_model import golden_model_cfg
from tests.support.project_files import load_tool
from tests.support.timm_vit import COMMON, timm_vit

NETWORKS = ("student", "teacher")
WITH_TEACHER = ("--teacher", "teacher.pth")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def official(golden, folder):
    """Files of the authors' program; the teacher's was trained on several GPUs."""
    for network, prefix in (("student", ""), ("teacher", "module.")):
        weights = golden.state_dict(network).items()
        torch.save({f"{prefix}{k}": x for k, x in weights}, folder / f"{network}.pth")


@pytest.fixture
def ours(golden):
    """The golden networks by our names, in ``fsr.pth``."""
    student, teacher = (
        convert_official_state_dict(golden.state_dict(network)).tensors
        for network in NETWORKS
    )
    weights = student | {f"teacher.{name}": x for name, x in teacher.items()}
    save_state_dict_file("fsr.pth", weights)
    return weights


@pytest.fixture
def segmentor(golden):
    return MODELS.build(golden_model_cfg(golden.meta))


def run(tool, *arguments):
    load_tool(f"model_converters/{tool}").main([*arguments])


# ---------------------------------------------------------------- official.py


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("teacher", [False, True])
def test_the_authors_networks_fill_the_segmentor(
    segmentor, golden, folder, teacher, capsys
):
    networks = NETWORKS[: 1 + teacher]
    run("official", "student.pth", "new/fsr.pth", *WITH_TEACHER[: 2 * teacher])
    count = len(golden.state_dict("student"))
    counts = ", ".join(f"{count} tensors of the {name}" for name in networks)
    wrote, left_out, lacking = capsys.readouterr().out.splitlines()
    assert wrote == f"wrote new/fsr.pth: {counts}"
    assert left_out.startswith("left out, no counterpart: encoder.pos_embed[:, 0], wh")
    assert lacking.startswith("not in the source: distill_head.class_center.value; ")
    assert [path.name for path in (folder / "new").iterdir()] == ["fsr.pth"]

    weights = load_state_dict_file("new/fsr.pth")
    assert any(name.startswith("teacher.") for name in weights) == teacher
    runner = SimpleNamespace(
        model=segmentor, cfg=Config(dict(model={})), _resume=False, _train_loop={}
    )
    CheckpointGuardHook().after_load_checkpoint(runner, weights)
    assert not segmentor.load_state_dict(weights, strict=False).unexpected_keys
    for name in networks:
        network = segmentor.teacher if name == "teacher" else segmentor
        expected = golden[f"{name}/encoder.blocks.1.mlp.fc2.weight"]
        assert torch.equal(network.backbone.layers[1].ffn.layers[1].weight, expected)
    # mmseg's own function asks for `meta`.
    config = Config(dict(model=golden_model_cfg(golden.meta)))
    model = init_model(config, "new/fsr.pth", device="cpu")
    expected = golden["student/decoder.conv8.weight"]
    assert torch.equal(model.decode_head.conv_seg.weight, expected)


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("broken", NETWORKS)
def test_a_foreign_checkpoint_is_named_and_the_old_file_stays(folder, broken):
    (folder / "fsr.pth").write_text("old")
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, f"{broken}.pth")
    with pytest.raises(SystemExit, match=rf"error: {broken} {broken}\.pth: layer1"):
        run("official", "student.pth", "fsr.pth", *WITH_TEACHER, "--overwrite")
    assert (folder / "fsr.pth").read_text() == "old"


# ------------------------------------------------------------- to_official.py


def test_both_networks_come_back(ours, golden, capsys):
    run("to_official", "fsr.pth", "student.pth", *WITH_TEACHER)
    count = len(golden.state_dict("student"))
    student, unused, *_ = capsys.readouterr().out.splitlines()
    assert student == f"wrote student.pth: {count} tensors of the student"
    assert unused == (
        "not in the source: encoder.pos_embed[:, 0], which is never used: set to 0"
    )
    for network in NETWORKS:
        # As the authors' program reads it.
        back = torch.load(f"{network}.pth", weights_only=True)
        official = golden.state_dict(network)
        assert back.keys() == official.keys()
        official["encoder.pos_embed"][:, 0] = 0
        for key, tensor in official.items():
            assert torch.equal(back[key], tensor), key


@pytest.mark.parametrize(
    ("prefix", "message"),
    [
        ("teacher.", r"error: teacher of fsr\.pth: holds no teacher"),
        (
            "backbone.",
            r"student of fsr\.pth: .*: backbone\.aggr.* is missing and 11 more",
        ),
    ],
)
def test_missing_parts_are_named(ours, folder, prefix, message):
    weights = {k: x for k, x in ours.items() if not k.startswith(prefix)}
    save_state_dict_file("fsr.pth", weights)
    with pytest.raises(SystemExit, match=message):
        run("to_official", "fsr.pth", "student.pth", *WITH_TEACHER)
    assert [path.name for path in folder.iterdir()] == ["fsr.pth"]


@pytest.mark.usefixtures("ours")
def test_one_file_for_both():
    with pytest.raises(SystemExit, match=r"both to go to x\.pth"):
        run("to_official", "fsr.pth", "x.pth", "--teacher", "x.pth")


# --------------------------------------------------------------------- vit.py


def test_timm_to_mmpretrain_and_ours(capsys):
    weights = timm_vit().state_dict()
    torch.save(weights, "x.pth")
    run("vit", "x.pth", "out.pth", "--to", "mmpretrain")
    assert f"wrote out.pth: {len(weights) - 2} tensors\n" in capsys.readouterr().out
    init_cfg = dict(type="Pretrained", checkpoint="out.pth", prefix="backbone.")
    vit = VisionTransformer(**COMMON, init_cfg=init_cfg)
    vit.init_weights()
    assert torch.equal(vit.layers[1].ln2.bias, weights["blocks.1.norm2.bias"])

    run("vit", "x.pth", "fsr.pth", "--to", "fsr")
    token = load_state_dict_file("fsr.pth")["backbone.aggregator.cls_token"]
    assert torch.equal(token, weights["cls_token"])


@pytest.mark.parametrize("network", NETWORKS)
def test_ours_to_timm(segmentor, network, capsys):
    torch.nn.init.normal_(segmentor.backbone.ln1.weight)
    save_state_dict_file("x.pth", segmentor.state_dict())
    run("vit", "x.pth", "out.pth", "--to", "timm", "--network", network)
    # As timm reads it: by name, without more around it.
    converted = torch.load("out.pth", weights_only=True)
    expected = segmentor if network == "student" else segmentor.teacher
    assert torch.equal(converted["norm.weight"], expected.backbone.ln1.weight)
    printed = capsys.readouterr().out
    for part in ("aggregator (", "mask_token (1", "decode_head (3", "distill_head ("):
        assert part in printed


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("blocks.0.x", ["--network", "teacher"], "holds no teacher"),
        ("conv1.weight", [], "no plain ViT: .* found conv1"),
        ("backbone.backbone.conv1.weight", [], "no plain ViT"),
    ],
)
def test_no_vit(folder, name, arguments, message):
    torch.save({name: torch.ones(1)}, "x.pth")
    with pytest.raises(SystemExit, match=rf"^error: x\.pth: {message}"):
        run("vit", "x.pth", "out.pth", "--to", "mmpretrain", *arguments)
    assert not (folder / "out.pth").exists()


# ------------------------------------------------------------------------ all


@pytest.mark.usefixtures("ours")
@pytest.mark.parametrize(
    ("tool", "arguments", "old"),
    [
        ("official", ["student.pth", "out.pth"], "out.pth"),
        ("to_official", ["fsr.pth", "out.pth", *WITH_TEACHER], "out.pth"),
        ("to_official", ["fsr.pth", "out.pth", *WITH_TEACHER], "teacher.pth"),
        ("vit", ["fsr.pth", "out.pth", "--to", "timm"], "out.pth"),
    ],
)
def test_an_older_file_stays_unless_told(folder, golden, tool, arguments, old):
    torch.save(golden.state_dict("student"), "student.pth")
    (folder / old).write_text("old")
    with pytest.raises(SystemExit, match=rf"{old} exists: .* --overwrite"):
        run(tool, *arguments)
    assert (folder / old).read_text() == "old"
    run(tool, *arguments, "--overwrite")
    assert load_state_dict_file(old)


@pytest.mark.usefixtures("official", "ours")
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("official", ["student.pth", "link.pth"]),
        ("official", ["teacher.pth", "link.pth", "--teacher", "student.pth"]),
        ("to_official", ["student.pth", "link.pth"]),
        ("to_official", ["student.pth", "x.pth", "--teacher", "link.pth"]),
        ("vit", ["student.pth", "link.pth", "--to", "timm"]),
    ],
)
def test_the_checkpoint_that_is_read_stays(folder, tool, arguments):
    before = (folder / "student.pth").read_bytes()
    (folder / "link.pth").symlink_to("student.pth")
    for out in ("link.pth", "student.pth"):
        words = [out if word == "link.pth" else word for word in arguments]
        with pytest.raises(SystemExit, match=r"student\.pth, which is read"):
            run(tool, *words, "--overwrite")
    assert (folder / "student.pth").read_bytes() == before
    assert not (folder / "x.pth").exists()


@pytest.mark.parametrize("tool", ["official", "to_official", "vit"])
def test_a_missing_file_is_named(tool):
    more = ["--to", "timm"] if tool == "vit" else []
    with pytest.raises(SystemExit, match=r"error: weights file none\.pth does not"):
        run(tool, "none.pth", "out.pth", *more)
