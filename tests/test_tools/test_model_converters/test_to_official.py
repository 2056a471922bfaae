import pytest
import torch
from mmseg.registry import MODELS

from mmseg_fsr.utils import load_state_dict_file, save_state_dict_file
from tests.reference.golden_model import golden_model_cfg
from tests.support.project_files import load_tool

NETWORKS = ("student", "teacher")


@pytest.fixture
def tool():
    return load_tool("model_converters/to_official")


@pytest.fixture
def files(golden, tmp_path):
    """The networks of the golden arrays in a file, by ``official.py``."""
    paths = [tmp_path / f"{network}.pth" for network in NETWORKS]
    for network, path in zip(NETWORKS, paths, strict=True):
        torch.save(golden.state_dict(network), path)
    student, teacher = map(str, paths)
    out = str(tmp_path / "fsr.pth")
    load_tool("model_converters/official").main([student, out, "--teacher", teacher])
    return tmp_path


def convert(tool, files, *arguments):
    tool.main([str(files / "fsr.pth"), str(files / "back.pth"), *map(str, arguments)])


def test_both_networks_come_back(tool, files, golden, capsys):
    capsys.readouterr()
    convert(tool, files, "--teacher", files / "back_teacher.pth")
    count = len(golden.state_dict("student"))
    student, unused, *_ = capsys.readouterr().out.splitlines()
    assert student == f"wrote {files / 'back.pth'}: {count} tensors of the student"
    assert unused == (
        "not in the source: encoder.pos_embed[:, 0], which is never used: set to 0"
    )
    for network, name in zip(NETWORKS, ("back", "back_teacher"), strict=True):
        # As their program reads it.
        back = torch.load(files / f"{name}.pth", weights_only=True)
        official = golden.state_dict(network)
        assert back.keys() == official.keys()
        official["encoder.pos_embed"][:, 0] = 0
        for key, tensor in official.items():
            assert torch.equal(back[key], tensor), key


def test_a_whole_segmentor(tool, files, golden, capsys):
    segmentor = MODELS.build(golden_model_cfg(golden.meta))
    save_state_dict_file(files / "fsr.pth", segmentor.state_dict())
    capsys.readouterr()
    convert(tool, files)
    assert (
        "left out, no counterpart: distill_head.class_center.value; "
        "distill_head.patch_center.value" in capsys.readouterr().out
    )
    official = golden.state_dict("student")
    assert load_state_dict_file(files / "back.pth").keys() == official.keys()


def test_no_teacher(tool, files):
    student = load_state_dict_file(files / "fsr.pth")
    student = {k: x for k, x in student.items() if not k.startswith("teacher.")}
    save_state_dict_file(files / "fsr.pth", student)
    with pytest.raises(
        SystemExit, match=r"error: teacher of .*fsr\.pth: holds no teacher"
    ):
        convert(tool, files, "--teacher", files / "back_teacher.pth")
    assert not list(files.glob("back*"))


def test_missing_heads_are_named(tool, files):
    weights = load_state_dict_file(files / "fsr.pth")
    del weights["decode_head.conv_seg.weight"]
    save_state_dict_file(files / "fsr.pth", weights)
    message = r"student of .*fsr\.pth: .*: decode_head\.conv_seg\. is missing"
    with pytest.raises(SystemExit, match=message):
        convert(tool, files)


def test_a_resnet_is_refused(tool, files):
    weights = load_state_dict_file(files / "fsr.pth")
    weights = {k: x for k, x in weights.items() if not k.startswith("backbone.")}
    weights["backbone.backbone.conv1.weight"] = torch.zeros(1)
    save_state_dict_file(files / "fsr.pth", weights)
    with pytest.raises(SystemExit, match=r"backbone\.pos_embed is missing"):
        convert(tool, files)


@pytest.mark.parametrize("name", ["back", "back_teacher"])
def test_older_files_stay_unless_told(tool, files, name):
    (files / f"{name}.pth").write_text("old")
    with pytest.raises(SystemExit, match=rf"{name}\.pth exists: .* --overwrite"):
        convert(tool, files, "--teacher", files / "back_teacher.pth")
    assert (files / f"{name}.pth").read_text() == "old"
    convert(tool, files, "--teacher", files / "back_teacher.pth", "--overwrite")
    assert load_state_dict_file(files / f"{name}.pth")


def test_one_file_for_both(tool, files):
    with pytest.raises(SystemExit, match=r"both to go to .*back\.pth"):
        convert(tool, files, "--teacher", files / "back.pth")
