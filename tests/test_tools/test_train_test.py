"""Training and testing by the tools, of a stock mmseg model: they know no method."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmseg.registry import HOOKS
from PIL import Image

from tests.support.project_files import TOOLS, load_tool
from tests.support.runs import read_checkpoint, run_tool

NAMES = [f"scene_{index}" for index in range(4)]

CONFIG = """
default_scope = "mmseg"
custom_imports = dict(imports=["mmseg_fsr"])
head = dict(in_channels=32, in_index=3, channels=8, num_convs=1, concat_input=False)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", size=(32, 32)),
    backbone=dict(type="ResNet", depth=18, base_channels=4),
    decode_head=dict(type="FCNHead", num_classes=2, **head),
    test_cfg=dict(mode="whole"),
)
load = [dict(type="LoadImageFromFile")]
pack = [dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
dataset = dict(
    type="BaseSegDataset",
    data_root={root!r},
    data_prefix=dict(img_path="images", seg_map_path="masks"),
    metainfo=dict(classes=("ground", "thing"), palette=[[0, 0, 0], [255, 0, 0]]),
    img_suffix=".png",
    pipeline=load + pack,
)
loader = dict(batch_size=2, num_workers=0, dataset=dataset)
train_dataloader = dict(sampler=dict(type="InfiniteSampler"), **loader)
val_dataloader = dict(sampler=dict(type="DefaultSampler", shuffle=False), **loader)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric")
test_evaluator = val_evaluator
optim_wrapper = dict(optimizer=dict(type="AdamW", lr=1e-3))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=2)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2),
    visualization=dict(type="SegVisualizationHook", interval=1),
)
custom_hooks = [dict(type="ImageRecorder")]
visualizer = dict(
    type="SegLocalVisualizer", vis_backends=[dict(type="LocalVisBackend")]
)
tta_model = dict(type="SegTTAModel")
flip = [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)]
versions = [flip, [pack[0]], [pack[1]]]
tta_pipeline = load + [dict(type="TestTimeAug", transforms=versions)]
del head, load, pack, dataset, loader, flip, versions
"""


@HOOKS.register_module(force=True)
class ImageRecorder(Hook):
    """Keeps the names of the images that runs train on."""

    images = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.images.extend(sample.img_path for sample in data_batch["data_samples"])


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A config and four images; nothing of them is weakly supervised."""
    root = tmp_path_factory.mktemp("stock")
    generator = np.random.default_rng(0)
    for folder, shape, high in (("images", (32, 32, 3), 255), ("masks", (32, 32), 2)):
        (root / folder).mkdir()
        for name in NAMES:
            pixels = generator.integers(0, high, shape, dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{name}.png")
    path = root / "tiny.py"
    path.write_text(CONFIG.replace("{root!r}", repr(str(root))))
    return path


@pytest.fixture(scope="module")
def trained(config):
    """The checkpoint of a first, short run."""
    run_tool(TOOLS / "train.py", config, "--work-dir", config.parent / "work")
    return config.parent / "work" / "iter_2.pth"


@pytest.mark.slow
def test_resume_continues_where_the_first_run_ended(config, trained, tmp_path):
    before = read_checkpoint(trained)
    assert before["meta"]["iter"] == 2
    (scalars,) = trained.parent.glob("*/vis_data/scalars.json")
    assert '"mIoU"' in scalars.read_text()
    work_dir = shutil.copytree(trained.parent, tmp_path / "work")
    ImageRecorder.images.clear()
    run_tool(
        TOOLS / "train.py", config, "--work-dir", work_dir, "--resume",
        "--cfg-options", "train_cfg.max_iters=4", "optim_wrapper.optimizer.lr=0.01",
        # What the run may have started from.
        f"load_from={tmp_path}/gone.pth",
    )  # fmt: skip
    # Two steps of two images.
    assert len(ImageRecorder.images) == 4
    after = read_checkpoint(work_dir / "iter_4.pth")
    # The optimiser goes on with its own state, and so with the first run's rate.
    assert {int(s["step"]) for s in after["optimizer"]["state"].values()} == {4}
    assert after["optimizer"]["param_groups"][0]["lr"] == 1e-3
    name = "decode_head.conv_seg.weight"
    assert not torch.equal(before["state_dict"][name], after["state_dict"][name])


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--tta"]])
def test_test_writes_scores_label_maps_and_pictures(config, trained, tmp_path, options):
    maps, pictures = tmp_path / "maps", tmp_path / "pictures"
    run_tool(
        TOOLS / "test.py", config, trained, "--work-dir", tmp_path / "work",
        "--out", maps, "--show-dir", pictures, *options,
        # As a resumed training dumps its config.
        "--cfg-options", "resume=True",
    )  # fmt: skip
    assert sorted(path.stem for path in maps.iterdir()) == NAMES
    assert len(list(pictures.rglob("*.png"))) == len(NAMES)
    found, truth = (
        np.stack([np.asarray(Image.open(folder / f"{name}.png")) for name in NAMES])
        for folder in (maps, config.parent / "masks")
    )
    inner, outer = (
        [op(found == k, truth == k).sum() for k in (0, 1)]
        for op in (np.logical_and, np.logical_or)
    )
    (scores,) = (tmp_path / "work").glob("*/*.json")
    expected = 100 * np.mean(np.divide(inner, outer))
    assert json.loads(scores.read_text())["mIoU"] == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize(
    ("name", "arguments", "missing"),
    [
        ("train", ["gone.py"], "config not found: gone.py"),
        ("test", ["gone.py", "a.pth"], "config not found: gone.py"),
        ("test", [__file__, "a.pth"], "checkpoint not found: a.pth"),
        ("analysis/draw_panels", ["gone.py", "a.pth", "out"], "config not found: gone"),
        ("analysis/draw_panels", [__file__, "a.pth", "out"], "checkpoint not found: a"),
    ],
)
def test_a_missing_file_is_one_line(name, arguments, missing, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        load_tool(name).main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name.rpartition('/')[2]}.py: error: {missing}")


def test_a_checkpoint_may_be_an_address(monkeypatch):
    address = "https://example.org/a.pth"
    monkeypatch.setattr(sys, "argv", ["test.py", __file__, address])
    assert load_tool("test").parse_args().checkpoint == address


def test_tools_take_the_arguments_of_mmseg(monkeypatch):
    common = [
        "--work-dir", "w", "--launcher", "slurm", "--local_rank", "1",
        "--cfg-options", "a.b=1", "c=[1,2]",
    ]  # fmt: skip
    shared = dict(
        config=__file__,
        work_dir="w",
        launcher="slurm",
        local_rank=1,
        cfg_options={"a.b": 1, "c": [1, 2]},
    )
    monkeypatch.setattr(
        sys, "argv", ["train.py", __file__, "--resume", "--amp", *common]
    )
    args = vars(load_tool("train").parse_args())
    assert args == dict(resume=True, amp=True, **shared)

    own = ["--out", "o", "--show", "--show-dir", "s", "--wait-time", "0.5", "--tta"]
    monkeypatch.setattr(sys, "argv", ["test.py", __file__, __file__, *own, *common])
    args = vars(load_tool("test").parse_args())
    own = dict(out="o", show=True, show_dir="s", wait_time=0.5, tta=True, crf=False)
    assert args == dict(checkpoint=__file__, **own, **shared)


@pytest.mark.parametrize(
    ("files", "resume"),
    [
        (["last_checkpoint", "step2.pth"], True),
        (["iter_2.pth"], True),
        (["pretrained.pth", "train.log"], False),
        ([], False),
    ],
)
def test_resume_takes_the_run_s_own_checkpoints(tmp_path, files, resume):
    for name in files:
        (tmp_path / name).touch()
    cfg = Config(dict(work_dir=str(tmp_path), load_from="a.pth"))
    load_tool("train").resume_own(cfg)
    assert cfg.resume == resume
    assert cfg.load_from == (None if resume else "a.pth")


def test_amp_wraps_the_plain_optimizer_only():
    train = load_tool("train")
    cfg = Config(dict(optim_wrapper=dict(type="OptimWrapper")))
    train.enable_amp(cfg)
    assert cfg.optim_wrapper == dict(type="AmpOptimWrapper", loss_scale="dynamic")
    cfg = Config(dict(optim_wrapper=dict(type="AmpOptimWrapper", loss_scale=512.0)))
    train.enable_amp(cfg)
    assert cfg.optim_wrapper == dict(type="AmpOptimWrapper", loss_scale=512.0)
    cfg = Config(dict(optim_wrapper=dict(type="ApexOptimWrapper")))
    with pytest.raises(ValueError, match=r"--amp .* got 'ApexOptimWrapper'"):
        train.enable_amp(cfg)


@pytest.mark.parametrize("nested", [False, True])
def test_label_maps_come_from_the_segmentation_metrics_alone(tmp_path, nested):
    write_predictions = load_tool("test").write_predictions
    # Every process makes the folder: mmseg's metric does so in the first one alone.
    folder = tmp_path / "some" / "maps"
    metrics = [dict(type="IoUMetric"), dict(type="CityscapesMetric")]
    evaluator = dict(type="DenseCRFEvaluator", metrics=metrics) if nested else metrics
    cfg = Config(dict(test_evaluator=evaluator))
    write_predictions(cfg, str(folder))
    assert folder.is_dir()
    found = cfg.test_evaluator.metrics if nested else cfg.test_evaluator
    assert found == [metrics[0] | dict(output_dir=str(folder)), metrics[1]]
    cfg = Config(dict(test_evaluator=metrics[1]))
    with pytest.raises(ValueError, match="--out needs an IoUMetric"):
        write_predictions(cfg, str(folder))


def test_label_maps_of_images_of_one_name_are_refused():
    class Images(list):
        def get_data_info(self, index):
            return dict(img_path=self[index])

    refuse = load_tool("test").refuse_repeated_names
    refuse(Images(["cats/1.jpg", "dogs/2.jpg"]))
    with pytest.raises(ValueError, match=r"--out writes 1\.png for 2 images"):
        refuse(Images(["cats/1.jpg", "dogs/1.jpg", "dogs/2.jpg"]))


def test_drawing_needs_a_hook_that_draws():
    cfg = Config(dict(visualizer=dict(), default_hooks=dict()))
    args = type("Args", (), dict(show=False, show_dir="pictures", wait_time=2))
    with pytest.raises(ValueError, match=r"--show-dir needs default_hooks\.visual"):
        load_tool("test").enable_drawing(cfg, args)


@pytest.mark.parametrize(
    ("script", "given", "called"),
    [
        (
            "dist_train.sh",
            ["c.py", 2, "--work-dir", "w"],
            "train.py c.py --launcher pytorch --work-dir w",
        ),
        (
            "dist_test.sh",
            ["c.py", "a.pth", 2, "--crf"],
            "test.py c.py a.pth --launcher pytorch --crf",
        ),
    ],
)
def test_scripts_start_a_process_a_rank(script, given, called):
    def run(*arguments):
        return subprocess.run(
            ["bash", TOOLS / script, *map(str, arguments)],
            # Prints what the interpreter would get.
            env=os.environ | dict(PYTHON="echo", PORT="1234"),
            capture_output=True,
            text=True,
            check=False,
        )

    assert run(*given).stdout == (
        "-m torch.distributed.run --nnodes=1 --node_rank=0 --master_addr=127.0.0.1 "
        f"--master_port=1234 --nproc_per_node=2 {TOOLS}/{called}\n"
    )
    bare = run()
    assert bare.returncode == 2
    assert bare.stderr.startswith("usage: ")
    assert "CONFIG" in bare.stderr
