import csv

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_fsr.analysis import dataset_entropies
from mmseg_fsr.apis import init_model
from tests.support.project_files import TOOLS
from tests.support.runs import own_globals, run_tool

TOOL = TOOLS / "analysis" / "attention_entropy.py"
NAMES = ["class_attention_val_00000.png", "entropy.csv", "entropy.png"]

pytestmark = pytest.mark.slow

_AVERAGE = """
_base_ = {base!r}
aggregator = dict(_delete_=True, type="AveragePoolingAggregator")
model = dict(backbone=dict(aggregator=aggregator))
"""


def write_checkpoint(config, path, seed=0):
    """Random weights of a config."""
    torch.manual_seed(seed)
    model = init_model(Config.fromfile(config), device="cpu")
    model.init_weights()
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope="module")
def checkpoints(tiny, tmp_path_factory):
    """Two, of one name in two folders."""
    return [
        write_checkpoint(tiny, tmp_path_factory.mktemp(name) / "iter_4.pth", seed)
        for seed, name in enumerate(("before", "after"))
    ]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_two_checkpoints_side_by_side(tiny, checkpoints, tmp_path, capsys):
    out = tmp_path / "new" / "out"
    run_tool(TOOL, tiny, *checkpoints, out, "--num", 3)
    assert files(out) == NAMES
    lines = capsys.readouterr().out.splitlines()
    assert f"{checkpoints[0]}: 3 of 4 validation images" in lines
    assert lines[-1].endswith(f"written to {out}")

    with open(out / "entropy.csv", newline="") as file:
        found = {
            (row["checkpoint"], row["layer"], int(row["head"])): row["entropy_mean"]
            for row in csv.DictReader(file)
        }
    # Three blocks and the class attention, of two heads each.
    assert len(found) == 2 * 4 * 2
    for checkpoint in checkpoints:
        with own_globals():
            model = init_model(str(tiny), checkpoint)
        dataset = DATASETS.build(model.cfg.val_dataloader.dataset)
        entropies = dataset_entropies(model, (dataset[i] for i in range(3)))
        for layer, values in entropies.items():
            for head, mean in enumerate(values.mean(0).tolist()):
                written = float(found[str(checkpoint), layer, head])
                assert written == pytest.approx(mean, abs=1e-5)

    with Image.open(out / "entropy.png") as plot:
        assert plot.format == "PNG"
    with Image.open(out / NAMES[0]) as picture:
        # A photo and two heads, in a row for each checkpoint.
        assert picture.size == (3 * 260, 2 * (256 + 24))


def test_images_of_ones_own(tiny, checkpoints, tmp_path):
    images = tiny.parent / "scenes" / "JPEGImages"
    chosen = [images / "train_00001.jpg", images / "val_00002.jpg"]
    arguments = [tiny, checkpoints[0], tmp_path, "--num", 1, "--images"]
    run_tool(TOOL, *arguments, *chosen)
    assert files(tmp_path) == [
        "class_attention_train_00001.png", "class_attention_val_00002.png",
        "entropy.csv", "entropy.png",
    ]  # fmt: skip
    copy = tmp_path / "val_00002.jpg"
    copy.write_bytes(chosen[1].read_bytes())
    with pytest.raises(SystemExit, match="--images: expected files of different names"):
        run_tool(TOOL, *arguments, chosen[1], copy)


def test_files_that_are_there_are_only_replaced_on_request(tiny, checkpoints, tmp_path):
    arguments = [tiny, checkpoints[0], tmp_path, "--num", 1]
    for name in NAMES:
        (tmp_path / name).write_text("mine")
        with pytest.raises(SystemExit, match=rf"{name} exists: .* --overwrite"):
            run_tool(TOOL, *arguments)
        assert files(tmp_path) == [name]
        (tmp_path / name).unlink()
    for name in NAMES:
        (tmp_path / name).write_text("mine")
    run_tool(TOOL, *arguments, "--overwrite")
    assert files(tmp_path) == NAMES
    assert all((tmp_path / name).read_bytes() != b"mine" for name in NAMES)


def test_a_class_token_that_is_a_mean_has_no_picture(tiny, tmp_path, capsys):
    config, out = tmp_path / "gap.py", tmp_path / "out"
    config.write_text(_AVERAGE.format(base=str(tiny)))
    checkpoint = write_checkpoint(config, tmp_path / "gap.pth")
    run_tool(TOOL, config, checkpoint, out, "--num", 1)
    assert files(out) == ["entropy.csv", "entropy.png"]
    assert "no picture of the class token" in capsys.readouterr().out
    assert "aggregator" not in (out / "entropy.csv").read_text()
    image = tiny.parent / "scenes" / "JPEGImages" / "val_00000.jpg"
    with pytest.raises(SystemExit, match=r"--images: .* expected an aggregator"):
        run_tool(TOOL, config, checkpoint, tmp_path / "out2", "--images", image)
    assert files(tmp_path / "out2") == []


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(config="gone.py"), "error: config not found: gone.py"),
        (dict(after="gone.pth"), "error: checkpoint not found: gone.pth"),
        (dict(image="--images=gone.jpg"), "error: image not found: gone.jpg"),
        (dict(out=None), "iter_4.pth is a file: name the folder for the output last"),
    ],
)
def test_bad_arguments_are_one_line(changed, message, tiny, checkpoints, capsys):
    before, after = checkpoints
    given = dict(config=tiny, before=before, after=after, out="out") | changed
    with pytest.raises(SystemExit) as ended:
        run_tool(TOOL, *(value for value in given.values() if value is not None))
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)


def test_what_cannot_be_measured_is_one_line(tiny, checkpoints, tmp_path):
    before, out = checkpoints[0], tmp_path / "out"
    broken = tmp_path / "broken.pth"
    broken.write_bytes(before.read_bytes()[:500])
    for arguments, message in (
        ([before, before, out], r"iter_4\.pth is given twice"),
        ([before, out, "--cfg-options", "val_dataloader=None"], "it names no images"),
        ([before, broken, out, "--num", 1], rf"error: .*{broken}"),
    ):
        with pytest.raises(SystemExit, match=message):
            run_tool(TOOL, tiny, *arguments)
    # Nothing is written before all is measured.
    assert files(out) == []
