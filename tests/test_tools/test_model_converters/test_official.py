from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmseg.apis import init_model
from mmseg.registry import MODELS

from mmseg_fsr.engine.hooks import CheckpointGuardHook
from mmseg_fsr.utils import load_state_dict_file
from tests.reference.golden_model import golden_model_cfg
from tests.support.project_files import load_tool


@pytest.fixture
def tool():
    return load_tool("model_converters/official")


@pytest.fixture
def sources(golden, tmp_path):
    paths = {}
    for network in ("student", "teacher"):
        weights = golden.state_dict(network)
        if network == "teacher":  # as distributed training saves it
            weights = {f"module.{name}": x for name, x in weights.items()}
        paths[network] = tmp_path / f"{network}.pth"
        torch.save(weights, paths[network])
    return paths


def test_both_networks_fill_the_segmentor(tool, sources, golden, tmp_path, capsys):
    out = tmp_path / "converted" / "fsr.pth"
    tool.main([str(sources["student"]), str(out), "--teacher", str(sources["teacher"])])
    count = len(golden.state_dict("student"))
    printed = capsys.readouterr().out
    assert f"wrote {out}: {count} tensors of the student, {count} tensors" in printed
    assert "left out, no counterpart: encoder.pos_embed[:, 0], which" in printed
    assert "not in the source: distill_head.class_center.value; " in printed

    segmentor = MODELS.build(golden_model_cfg(golden.meta))
    missing, unexpected = segmentor.load_state_dict(
        load_state_dict_file(out), strict=False
    )
    assert not unexpected
    assert all(name.endswith("center.value") for name in missing)
    for network, weights in ((segmentor, "student"), (segmentor.teacher, "teacher")):
        expected = golden[f"{weights}/encoder.blocks.1.mlp.fc2.weight"]
        assert torch.equal(network.backbone.layers[1].ffn.layers[1].weight, expected)
    assert [path.name for path in out.parent.iterdir()] == ["fsr.pth"]


@pytest.mark.parametrize("teacher", [False, True])
def test_the_guard_lets_it_be_tested(tool, sources, golden, tmp_path, teacher):
    out = tmp_path / "fsr.pth"
    arguments = ["--teacher", str(sources["teacher"])] if teacher else []
    tool.main([str(sources["student"]), str(out), *arguments])
    runner = SimpleNamespace(
        model=MODELS.build(golden_model_cfg(golden.meta)), _resume=False, _train_loop={}
    )
    CheckpointGuardHook().after_load_checkpoint(runner, load_state_dict_file(out))


def test_student_alone(tool, sources, tmp_path, capsys):
    out = tmp_path / "fsr.pth"
    tool.main([str(sources["student"]), str(out)])
    assert "teacher" not in capsys.readouterr().out
    assert not any(name.startswith("teacher.") for name in load_state_dict_file(out))


@pytest.mark.parametrize("broken", ["student", "teacher"])
def test_foreign_checkpoint_is_named_and_the_old_file_stays(
    tool, sources, tmp_path, broken
):
    out = tmp_path / "fsr.pth"
    out.write_text("old")
    torch.save({"layer1.0.conv1.weight": torch.zeros(1)}, sources[broken])
    arguments = [sources["student"], out, "--teacher", sources["teacher"]]
    with pytest.raises(SystemExit, match=rf"error: {broken} .*{broken}\.pth: layer1"):
        tool.main([*map(str, arguments), "--overwrite"])
    assert out.read_text() == "old"
    assert {p.suffix for p in tmp_path.iterdir()} == {".pth"}


def test_missing_file(tool, tmp_path):
    with pytest.raises(SystemExit, match=r"error: weights file .*none\.pth does not"):
        tool.main([str(tmp_path / "none.pth"), str(tmp_path / "out.pth")])


def test_an_older_file_stays_unless_told(tool, sources, tmp_path):
    out = tmp_path / "fsr.pth"
    out.write_text("old")
    with pytest.raises(SystemExit, match=r"fsr\.pth exists: .* --overwrite"):
        tool.main([str(sources["student"]), str(out)])
    assert out.read_text() == "old"
    tool.main([str(sources["student"]), str(out), "--overwrite"])
    assert load_state_dict_file(out)


def test_mmseg_takes_the_file(tool, sources, golden, tmp_path):
    """``init_model`` asks for ``meta``."""
    tool.main([str(sources["student"]), str(tmp_path / "fsr.pth")])
    config = Config(dict(model=golden_model_cfg(golden.meta)))
    model = init_model(config, str(tmp_path / "fsr.pth"), device="cpu")
    expected = golden["student/decoder.conv8.weight"]
    assert torch.equal(model.decode_head.conv_seg.weight, expected)
