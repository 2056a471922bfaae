import json
import sys

import cv2
import numpy as np
import pytest
import torch
from mmseg.apis import inference_model
from mmseg.registry import MODELS
from PIL import Image

from mmseg_fsr import __version__
from mmseg_fsr.apis import init_model
from mmseg_fsr.export import onnx_model
from mmseg_fsr.export.onnx_graph import onnx_graph
from tests.support import pages
from tests.support.project_files import load_tool
from tests.support.runs import own_globals
from tests.support.tiny_config import CROP, write_tiny_config
from tests.support.tiny_segmentor import shake

onnxruntime = pytest.importorskip("onnxruntime")
CLASSES = ["background", "ball", "crate", "fish", "leaf", "starfish"]


def tiny_model(config):
    """A model whose labels differ from place to place."""
    model = init_model(config, device="cpu")
    torch.manual_seed(0)
    return shake(model, 0.2)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Config and checkpoint of the demo's network, made small, and its scenes."""
    folder = tmp_path_factory.mktemp("tiny")
    config = write_tiny_config(folder)
    model = tiny_model(config)
    meta = dict(
        dataset_meta=dict(classes=CLASSES, palette=model.dataset_meta["palette"])
    )
    checkpoint = folder / "tiny.pth"
    torch.save(dict(state_dict=model.state_dict(), meta=meta), checkpoint)
    return config, checkpoint


@pytest.fixture
def export(tiny, tmp_path):
    """Runs the tool and gives back the file."""
    tool = load_tool("export_onnx")

    def export(*arguments, out=tmp_path / "new" / "tiny.onnx"):
        with own_globals():
            tool.main([*map(str, tiny), str(out), *map(str, arguments)])
        return out

    return export


def metadata_of(path):
    session = onnxruntime.InferenceSession(path)
    return session, session.get_modelmeta().custom_metadata_map


def test_a_file_of_any_size_with_what_its_labels_mean(export, tiny, capsys):
    out = export()
    # The log may come before.
    said = capsys.readouterr().out
    title, *rows, wrote = said[said.index("picture  ") :].splitlines()
    assert title.split() == [
        *("picture", "height", "x", "width", "equal", "pixels"),
        *("PyTorch", "ONNX", "Runtime"),
    ]
    # Four scenes at two sizes, and two at once.
    assert len(rows) == 9
    assert f"{CROP} x {CROP}" in rows[0]
    assert f"{CROP * 3 // 4 + 1} x {CROP * 5 // 4 + 3}" in rows[1]
    assert f"2 x {CROP * 3 // 4 + 1} x {CROP * 5 // 4 + 3}" in rows[-1]
    assert all(" 100.000%  " in row or " 99.9" in row for row in rows)
    assert wrote == (
        f"wrote {out}: {out.stat().st_size / 1e6:.1f} MB, opset 17, "
        "labels of 6 classes, any size"
    )

    session, meta = metadata_of(out)
    (image,), (labels,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type) == ("image", "tensor(uint8)")
    assert image.shape == ["batch", "height", "width", 3]
    assert (labels.name, labels.type) == ("labels", "tensor(uint8)")
    assert labels.shape == ["batch", "height", "width"]
    palette = init_model(*tiny, device="cpu").dataset_meta["palette"]
    values = {key: json.loads(x) for key, x in meta.items() if x[0] in "[{n"}
    assert values == dict(
        classes=CLASSES,
        palette=[list(colour) for colour in palette],
        size=None,
        test_resize=dict(height=CROP, width=CROP, keep_ratio=False),
    )
    rest = {key: meta[key] for key in meta.keys() - values.keys()}
    assert rest == dict(mmseg_fsr=__version__, config="tiny")


def test_logits_of_one_size_are_those_of_pytorch(export, tiny, capsys):
    picture = tiny[0].parent / "scenes/JPEGImages/val_00001.jpg"
    out = export("--output", "logits", "--size", 40, 56, "--images", picture)
    assert "logits of 6 classes, 40 x 56" in capsys.readouterr().out
    session, meta = metadata_of(out)
    assert json.loads(meta["size"]) == [40, 56]
    assert session.get_inputs()[0].shape == ["batch", 40, 56, 3]
    image = np.array(Image.open(picture).resize((56, 40)))
    (found,) = session.run(None, dict(image=image[None]))
    # mmseg's own inference, its pictures BGR, without a resize.
    model = init_model(*tiny, device="cpu")
    pipeline = [x for x in model.cfg.test_pipeline if x["type"] != "Resize"]
    model.cfg.test_pipeline = pipeline
    expected = inference_model(model, image[..., ::-1].copy()).seg_logits.data.numpy()
    np.testing.assert_allclose(found[0], expected, atol=1e-4 * expected.std())


def test_another_network_s_labels_leave_no_file(export, tiny, monkeypatch, tmp_path):
    torch.manual_seed(7)
    cfg = init_model(tiny[0], device="cpu").cfg
    other = onnx_graph(MODELS.build(cfg.model).eval())
    monkeypatch.setattr(onnx_model, "onnx_graph", lambda *_: other)
    with pytest.raises(
        SystemExit,
        match=r"tiny\.onnx is not written: labels equal PyTorch's in .*% of the pixels "
        r"of val_0000\d\.jpg at \d+ x \d+, expected at least 99\.9%; .* --size",
    ):
        export()
    assert not list((tmp_path / "new").iterdir())
    kept = tmp_path / "kept.onnx"
    kept.write_bytes(b"before")
    with pytest.raises(SystemExit, match="is not written"):
        export("--overwrite", out=kept)
    assert kept.read_bytes() == b"before"


def test_a_graph_that_does_not_run_leaves_no_file(export, tiny, monkeypatch, tmp_path):
    one_size = onnx_graph(tiny_model(tiny[0]), "labels", (16, 16))
    monkeypatch.setattr(onnx_model, "onnx_graph", lambda *_: one_size)
    with pytest.raises(SystemExit, match=r"written: val_.* at 32 x 32, 1 at a time"):
        export()
    assert not list((tmp_path / "new").iterdir())


def test_arguments_that_do_not_fit(export, tiny, tmp_path, monkeypatch, capsys):
    for arguments, out, text in (
        ([], tmp_path / "tiny.pt", "expected a name that ends in .onnx"),
        (
            ["--size", "0", "5"],
            tmp_path / "a.onnx",
            "expected a whole number from 1 on",
        ),
    ):
        with pytest.raises(SystemExit):
            export(*arguments, out=out)
        assert text in capsys.readouterr().err
    out = tmp_path / "there.onnx"
    out.write_bytes(b"")
    with pytest.raises(SystemExit, match="exists: replace it with --overwrite"):
        export(out=out)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    for picture, said in (
        (broken, "cannot be decoded"),
        ("none.jpg", "does not exist"),
    ):
        with pytest.raises(SystemExit, match=rf"{picture} {said}.*") as ended:
            export("--images", picture)
        # Another size would not help.
        assert ended.value.code.endswith("and name others by --images")
    option = "test_dataloader.dataset.data_root=nowhere"
    with pytest.raises(
        SystemExit,
        match=r"(?s)no pictures to compare .*nowhere.* name some .*--images",
    ):
        export("--cfg-options", option)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SystemExit, match=r"pip install 'mmseg_fsr\[onnx\]'"):
        export()
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_a_network_of_one_label_is_told_of(export, tiny, capsys):
    tensors = torch.load(tiny[1], weights_only=True)
    for name in tensors["state_dict"]:
        if name.endswith("decode_head.conv_seg.weight"):
            tensors["state_dict"][name][:] = 0
    one_label = tiny[1].with_name("one_label.pth")
    torch.save(tensors, one_label)
    tool = load_tool("export_onnx")
    with own_globals():
        tool.main([str(tiny[0]), str(one_label), str(one_label.with_suffix(".onnx"))])
    assert "the comparison says little" in capsys.readouterr().out


def test_deep_pictures_and_windows_are_told_of(export, capsys):
    out = export(
        "--cfg-options", "test_dataloader.dataset.metainfo.pixel_range=0,4095",
        "model.test_cfg.mode=slide", "model.test_cfg.crop_size=(16,16)",
        "model.test_cfg.stride=(8,8)",
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert "scale deeper ones by pixel_range=(0, 4095)" in printed
    assert "tests in windows of (16, 16)" in printed
    assert json.loads(metadata_of(out)[1]["pixel_range"]) == [0, 4095]


def test_unknown_classes_are_refused(tiny):
    model = init_model(*tiny, device="cpu")
    del model.dataset_meta
    with pytest.raises(ValueError, match="the classes are unknown"):
        onnx_model.metadata(model, None)


def test_the_page_s_program_needs_nothing_of_the_package(
    export, tiny, tmp_path, monkeypatch, capsys
):
    export(out=tmp_path / "scenes.onnx")
    photos = tmp_path / "data/scenes/JPEGImages"
    photos.mkdir(parents=True)
    (scene,) = tiny[0].parent.glob("scenes/JPEGImages/val_00000.jpg")
    Image.open(scene).resize((60, 44)).save(photos / "val_00000.jpg")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    program = pages.block("python", "import onnxruntime", "test_resize")
    assert "mmseg" not in program
    assert "torch" not in program
    lines = [line for line in program.splitlines() if line.strip()]
    assert len(lines) <= 20
    names = {}
    exec(program, names)
    mask = Image.open("mask.png")
    assert mask.size == (60, 44)
    # The same picture through the model in PyTorch, at the size of its tests.
    model = init_model(*tiny, device="cpu")
    bgr = cv2.resize(cv2.imread(str(photos / "val_00000.jpg")), (CROP, CROP))
    expected = inference_model(model, bgr).pred_sem_seg.data[0].numpy()
    assert np.mean(names["labels"] == expected) > 0.999
    assert set(np.unique(mask)) == set(np.unique(names["labels"]))
    shares = eval(capsys.readouterr().out)
    assert set(shares) <= set(CLASSES)
