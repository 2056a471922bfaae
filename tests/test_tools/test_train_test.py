"""The four tools on a stock mmseg model: nothing of them belongs to one method."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from tests.support.free_port import free_port
from tests.support.project_files import ROOT, TOOLS, load_tool
from tests.support.runs import read_checkpoint

NAMES = [f"scene_{index}" for index in range(4)]

CONFIG = """
default_scope = "mmseg"
custom_imports = dict(imports=["mmseg_fsr", "rank_report"])
env_cfg = dict(mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0))
randomness = dict(seed=0)
norm_cfg = dict(type="BN", requires_grad=True)
model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(type="SegDataPreProcessor", size=(32, 32)),
    backbone=dict(type="ResNet", depth=18, base_channels=4, norm_cfg=norm_cfg),
    decode_head=dict(
        type="FCNHead",
        in_channels=32,
        in_index=3,
        channels=8,
        num_convs=1,
        concat_input=False,
        num_classes=2,
        norm_cfg=norm_cfg,
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations"),
    dict(type="PackSegInputs"),
]
dataset = dict(
    type="BaseSegDataset",
    data_root={data_root!r},
    data_prefix=dict(img_path="images", seg_map_path="masks"),
    metainfo=dict(classes=("ground", "thing"), palette=[[0, 0, 0], [255, 0, 0]]),
    img_suffix=".png",
    pipeline=pipeline,
)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dataset,
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dataset,
)
test_dataloader = val_dataloader
val_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"])
test_evaluator = val_evaluator
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=1e-3))
train_cfg = dict(type="IterBasedTrainLoop", max_iters=2, val_interval=2)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=1, log_metric_by_epoch=False),
    checkpoint=dict(type="CheckpointHook", by_epoch=False, interval=2),
    visualization=dict(type="SegVisualizationHook", interval=1),
)
custom_hooks = [dict(type="RankReport", folder={reports!r})]
log_processor = dict(by_epoch=False)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(
    type="SegLocalVisualizer", vis_backends=vis_backends, name="visualizer"
)
tta_model = dict(type="SegTTAModel")
tta_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="RandomFlip", prob=0.0), dict(type="RandomFlip", prob=1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]
"""

# Each process tells which images it saw and which weights it ended with.
RANK_REPORT = """
import torch
from mmengine.dist import get_backend, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmseg.registry import HOOKS


@HOOKS.register_module()
class RankReport(Hook):
    def __init__(self, folder):
        self.folder, self.images = folder, []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.images += [sample.img_path for sample in data_batch["data_samples"]]

    def after_train(self, runner):
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        report = dict(
            images=self.images,
            processes=get_world_size(),
            backend=get_backend(),
            weights=[weight.detach().clone() for weight in model.parameters()],
        )
        torch.save(report, f"{self.folder}/rank{get_rank()}.pt")
"""


class Project:
    """A folder with data, a config, and what the tools wrote there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.reports = root / "reports"
        self.config = root / "tiny.py"
        self.reports.mkdir()
        self._write_data(root / "data")
        self.config.write_text(
            CONFIG.replace("{data_root!r}", repr(str(root / "data"))).replace(
                "{reports!r}", repr(str(self.reports))
            )
        )
        (root / "rank_report.py").write_text(RANK_REPORT)

    @staticmethod
    def _write_data(root: Path) -> None:
        generator = np.random.default_rng(0)
        for folder in ("images", "masks"):
            (root / folder).mkdir(parents=True)
        for name in NAMES:
            image = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            mask = generator.integers(0, 2, (32, 32), dtype=np.uint8)
            Image.fromarray(image).save(root / "images" / f"{name}.png")
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")

    def run(self, tool: str, *arguments: object) -> str:
        """Runs a tool as a user would, and gives back all that it printed."""
        program = ["bash"] if tool.endswith(".sh") else [sys.executable]
        result = subprocess.run(
            [*program, str(TOOLS / tool), *map(str, arguments)],
            cwd=self.root,
            env=os.environ
            | {
                "PYTHON": sys.executable,
                "PYTHONPATH": f"{ROOT}:{self.root}",
                "PORT": str(free_port()),
                "OMP_NUM_THREADS": "1",
                # These are tests of the CPU path, wherever they run.
                "CUDA_VISIBLE_DEVICES": "",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def report(self, rank: int) -> dict:
        return torch.load(self.reports / f"rank{rank}.pt", weights_only=True)

    def checkpoint(self, work_dir: str, iteration: int) -> Path:
        path = self.root / work_dir / f"iter_{iteration}.pth"
        assert path.is_file(), sorted(p.name for p in path.parent.iterdir())
        return path


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def trained(project) -> Path:
    """The checkpoint of a first, short run."""
    project.run("train.py", project.config, "--work-dir", "single")
    return project.checkpoint("single", 2)


@pytest.fixture(scope="module")
def weights(project, trained) -> Path:
    """Weights alone, from which nothing can be resumed."""
    path = project.root / "weights.pth"
    torch.save(dict(state_dict=read_checkpoint(trained)["state_dict"]), path)
    return path


def mean_iou(project: Project, maps: str) -> float:
    """Of the label maps in a folder of the project, in percent."""
    found, truth = (
        np.stack([np.asarray(Image.open(folder / f"{name}.png")) for name in NAMES])
        for folder in (project.root / maps, project.root / "data" / "masks")
    )
    ious = [
        ((found == index) & (truth == index)).sum()
        / ((found == index) | (truth == index)).sum()
        for index in (0, 1)
    ]
    return 100 * float(np.mean(ious))


@pytest.mark.slow
def test_train_writes_a_checkpoint_and_a_score(project, trained):
    checkpoint = read_checkpoint(trained)
    assert checkpoint["meta"]["iter"] == 2
    assert project.report(0)["processes"] == 1
    assert len(project.report(0)["images"]) == 4
    (scalars,) = trained.parent.glob("*/vis_data/scalars.json")
    assert '"mIoU"' in scalars.read_text()


@pytest.mark.slow
def test_resume_continues_where_the_first_run_ended(project, trained, weights):
    before = read_checkpoint(trained)
    output = project.run(
        "train.py", project.config, "--work-dir", "single", "--resume",
        "--cfg-options", "train_cfg.max_iters=4", "optim_wrapper.optimizer.lr=0.01",
        # What the run may have started from.
        f"load_from={weights}",
    )  # fmt: skip
    steps = re.findall(r"Iter\(train\) \[\s*(\d+)/4\]", output)
    assert steps == ["3", "4"]
    after = read_checkpoint(project.checkpoint("single", 4))
    assert after["meta"]["iter"] == 4
    # The optimiser goes on with its own state, and so with the first run's rate.
    step = {int(state["step"]) for state in after["optimizer"]["state"].values()}
    assert step == {4}
    assert after["optimizer"]["param_groups"][0]["lr"] == 1e-3
    changed = [
        name
        for name, value in before["state_dict"].items()
        if not torch.equal(value, after["state_dict"][name])
    ]
    assert "decode_head.conv_seg.weight" in changed


@pytest.mark.slow
def test_test_writes_scores_label_maps_and_pictures(project, weights):
    project.run(
        "test.py", project.config, weights, "--work-dir", "scored",
        "--out", "maps", "--show-dir", "pictures",
        # As a resumed training dumps its config.
        "--cfg-options", "resume=True",
    )  # fmt: skip
    (scores,) = (project.root / "scored").glob("*/*.json")
    expected = mean_iou(project, "maps")
    assert json.loads(scores.read_text())["mIoU"] == pytest.approx(expected, abs=0.006)
    maps = sorted((project.root / "maps").iterdir())
    assert [path.stem for path in maps] == NAMES
    assert set(np.unique(Image.open(maps[0]))) <= {0, 1}
    assert len(list((project.root / "pictures").rglob("*.png"))) == len(NAMES)


@pytest.mark.slow
def test_two_processes_train_one_model_without_a_gpu(project):
    project.run("dist_train.sh", project.config, 2, "--work-dir", "double")
    first, second = project.report(0), project.report(1)
    assert first["processes"] == second["processes"] == 2
    assert first["backend"] == second["backend"] == "gloo"
    # Different images, yet the same weights: the gradients were averaged.
    assert sorted(map(os.path.basename, first["images"] + second["images"])) == sorted(
        f"{name}.png" for name in NAMES * 2
    )
    assert first["images"] != second["images"]
    assert all(map(torch.equal, first["weights"], second["weights"]))
    start = read_checkpoint(project.checkpoint("double", 2))
    assert start["meta"]["iter"] == 2


@pytest.mark.slow
def test_two_processes_test_with_augmentation(project, trained):
    output = project.run(
        "dist_test.sh", project.config, trained, 2, "--work-dir", "scored2",
        "--tta", "--out", "maps2",
    )  # fmt: skip
    (logged,) = re.findall(r" mIoU: ([\d.]+)", output)
    (file,) = (project.root / "scored2").glob("*/*.json")
    # mmengine has both processes write it: the end of a longer text may follow.
    scores, _ = json.JSONDecoder().raw_decode(file.read_text())
    expected = mean_iou(project, "maps2")
    assert float(logged) == pytest.approx(expected, abs=0.006)
    assert scores["mIoU"] == pytest.approx(expected, abs=0.006)
    assert sorted(path.stem for path in (project.root / "maps2").iterdir()) == NAMES


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ["gone.py"], "train.py: error: config not found: gone.py"),
        ("test", ["gone.py", "a.pth"], "test.py: error: config not found: gone.py"),
        ("test", [__file__, "a.pth"], "test.py: error: checkpoint not found: a.pth"),
        (
            "analysis/draw_panels",
            ["gone.py", "a.pth", "out"],
            "draw_panels.py: error: config not found: gone.py",
        ),
        (
            "analysis/draw_panels",
            [__file__, "a.pth", "out"],
            "draw_panels.py: error: checkpoint not found: a.pth",
        ),
    ],
)
def test_a_missing_file_is_one_line(name, arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        load_tool(name).main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_a_checkpoint_may_be_an_address(monkeypatch):
    address = "https://example.org/a.pth"
    monkeypatch.setattr(sys, "argv", ["test.py", __file__, address])
    assert load_tool("test").parse_args().checkpoint == address


def test_tools_take_the_arguments_of_mmseg(monkeypatch):
    common = [
        "--work-dir", "w", "--launcher", "slurm", "--local_rank", "1",
        "--cfg-options", "a.b=1", "c=[1,2]",
    ]  # fmt: skip
    monkeypatch.setattr(
        sys, "argv", ["train.py", __file__, "--resume", "--amp", *common]
    )
    args = vars(load_tool("train").parse_args())
    shared = dict(
        work_dir="w",
        launcher="slurm",
        local_rank=1,
        cfg_options={"a.b": 1, "c": [1, 2]},
    )
    assert args == dict(config=__file__, resume=True, amp=True, **shared)

    own = ["--out", "o", "--show", "--show-dir", "s", "--wait-time", "0.5", "--tta"]
    monkeypatch.setattr(sys, "argv", ["test.py", __file__, __file__, *own, *common])
    args = vars(load_tool("test").parse_args())
    assert args == dict(
        config=__file__,
        checkpoint=__file__,
        out="o",
        show=True,
        show_dir="s",
        wait_time=0.5,
        tta=True,
        crf=False,
        **shared,
    )


@pytest.mark.parametrize(
    ("argument", "in_config", "expected"),
    [
        ("given", "configured", "given"),
        (None, "configured", "configured"),
        (None, None, "work_dirs/tiny"),
    ],
)
def test_work_dir_priority(tmp_path, monkeypatch, argument, in_config, expected):
    config = tmp_path / "tiny.py"
    config.write_text(f"work_dir = {in_config!r}\n")
    arguments = ["--work-dir", argument] if argument else []
    monkeypatch.setattr(sys, "argv", ["train.py", str(config), *arguments])
    module = load_tool("train")
    assert module.load_config(module.parse_args()).work_dir == expected


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


def test_label_maps_come_from_the_segmentation_metrics_alone(tmp_path):
    test = load_tool("test")
    # Every process makes the folder: mmseg's metric does so in the first one alone.
    folder = tmp_path / "some" / "maps"
    cfg = Config(
        dict(test_evaluator=[dict(type="IoUMetric"), dict(type="CityscapesMetric")])
    )
    test.write_predictions(cfg, str(folder))
    assert folder.is_dir()
    assert cfg.test_evaluator[0].output_dir == str(folder)
    assert "output_dir" not in cfg.test_evaluator[1]
    cfg = Config(dict(test_evaluator=[dict(type="CityscapesMetric")]))
    with pytest.raises(ValueError, match="--out needs an IoUMetric"):
        test.write_predictions(cfg, str(folder))


def test_label_maps_of_images_of_one_name_are_refused():
    class Images(list):
        def get_data_info(self, index):
            return dict(img_path=self[index])

    refuse = load_tool("test").refuse_repeated_names
    refuse(Images(["cats/1.jpg", "dogs/2.jpg"]))
    with pytest.raises(ValueError, match=r"--out writes 1\.png for 2 images"):
        refuse(Images(["cats/1.jpg", "dogs/1.jpg", "dogs/2.jpg"]))


def test_a_config_without_what_an_argument_needs_is_named():
    test = load_tool("test")
    cfg = Config(dict(visualizer=dict(), default_hooks=dict()))
    with pytest.raises(ValueError, match="--tta needs tta_model, tta_pipeline"):
        test.enable_tta(cfg)
    args = type("Args", (), dict(show=False, show_dir="pictures", wait_time=2))
    with pytest.raises(ValueError, match=r"--show-dir needs default_hooks\.visual"):
        test.enable_drawing(cfg, args)


@pytest.mark.parametrize("script", ["dist_train.sh", "dist_test.sh"])
def test_scripts_without_arguments_say_how_to_use_them(script):
    result = subprocess.run(
        ["bash", str(TOOLS / script)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert result.stderr.startswith("usage: ")
    assert "CONFIG" in result.stderr
