"""What the tools for training and testing add to mmengine's runner."""

import argparse
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from mmseg_fsr.cli.arguments import runner_config
from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.evaluation import ClassScores
from tests.support.project_files import TOOLS, load_tool
from tests.support.runs import run_tool


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--tta"]])
def test_test_writes_scores_label_maps_and_pictures(
    tiny, project, straight, tmp_path, options
):
    maps, pictures = tmp_path / "maps", tmp_path / "pictures"
    run_tool(
        TOOLS / "test.py", tiny, straight.work_dir / "iter_4.pth",
        "--work-dir", tmp_path / "work", "--out", maps, "--show-dir", pictures,
        # As a resumed training dumps its config.
        *options, "--cfg-options", "resume=True",
    )  # fmt: skip
    written = sorted(maps.glob("*.png"))
    assert len(written) == len(list(pictures.rglob("*.png"))) == 4
    scores = ClassScores(6)
    for path in written:
        truth = read_mask(project / "scenes" / "SegmentationClass" / path.name)
        scores.add("map", torch.tensor(read_mask(path)), torch.tensor(truth))
    (file,) = (tmp_path / "work").glob("*/*.json")
    expected = pytest.approx(100 * scores.mean("map"), abs=0.006)
    assert json.loads(file.read_text())["mIoU"] == expected


@pytest.fixture
def scenes(project, tmp_path):
    """A copy of the data set, which a wrong test would spoil."""
    return shutil.copytree(project / "scenes", tmp_path / "scenes")


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("argument", ["--out", "--show-dir"])
@pytest.mark.parametrize("folder", ["JPEGImages", "SegmentationClass", "."])
def test_photographs_and_masks_of_the_config_stay(
    tiny, straight, scenes, tmp_path, argument, folder
):
    before = contents(scenes)
    options = (
        f"{name}_dataloader.dataset.data_root={scenes}"
        for name in ("train", "val", "test")
    )
    with pytest.raises(SystemExit, match=rf"error: {argument} .* the folder of \w+_da"):
        run_tool(
            TOOLS / "test.py", tiny, straight.work_dir / "iter_4.pth",
            "--work-dir", tmp_path / "work", argument, scenes / folder, "--overwrite",
            "--cfg-options", *options,
        )  # fmt: skip
    assert contents(scenes) == before
    assert not (tmp_path / "work").exists()


@pytest.mark.slow
def test_files_of_others_are_replaced_on_request_alone(
    tiny, straight, scenes, tmp_path
):
    maps, masks = tmp_path / "maps", scenes / "SegmentationClass"

    def run(*arguments):
        run_tool(
            TOOLS / "test.py", tiny, straight.work_dir / "iter_4.pth",
            "--work-dir", tmp_path / "work", *arguments,
        )  # fmt: skip

    run("--out", maps)
    before = contents(maps)
    run("--out", maps)
    assert contents(maps) == before
    # The ground truth of another data set than the config's.
    before = contents(masks)
    message = r"--out .* files that tools/test\.py did not write, such as train_0"
    with pytest.raises(SystemExit, match=message):
        run("--out", masks)
    assert contents(masks) == before
    run("--out", masks, "--overwrite")
    for path in maps.glob("*.png"):
        assert (masks / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("tool", ["train", "test"])
def test_the_config_that_is_read_is_not_replaced(tiny, tmp_path, monkeypatch, tool):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "own.py"
    config.write_text(f"_base_ = {str(tiny)!r}\n")
    checkpoint = [tiny] if tool == "test" else []
    message = r"error: own\.py would be replaced: a run .* --work-dir"
    with pytest.raises(SystemExit, match=message):
        run_tool(TOOLS / f"{tool}.py", "own.py", *checkpoint, "--work-dir", ".")
    assert config.read_text() == f"_base_ = {str(tiny)!r}\n"
    assert list(tmp_path.iterdir()) == [config]


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
    ours = dict(max_iters=None, epochs=None)
    assert args == dict(resume=True, amp=True, **ours, **shared)

    own = ["--out", "o", "--show", "--show-dir", "s", "--wait-time", "0.5", "--tta"]
    monkeypatch.setattr(sys, "argv", ["test.py", __file__, __file__, *own, *common])
    args = vars(load_tool("test").parse_args())
    own = dict(out="o", show=True, show_dir="s", wait_time=0.5, tta=True, crf=False)
    own |= dict(amp=False, cams=False)
    assert args == dict(checkpoint=__file__, overwrite=False, **own, **shared)


@pytest.mark.parametrize(
    ("files", "resume"),
    [
        (["last_checkpoint", "step2.pth"], True),
        (["iter_2.pth"], True),
        (["pretrained.pth", "train.log"], False),
        ([], False),
    ],
)
def test_resume_takes_the_run_s_own_checkpoints(tmp_path, monkeypatch, files, resume):
    lines = []
    for name in files:
        (tmp_path / name).touch()
    cfg = Config(dict(work_dir=str(tmp_path), load_from="a.pth"))
    train = load_tool("train")
    monkeypatch.setattr(train, "print_log", lambda text, *_: lines.append(text))
    train.resume_own(cfg)
    assert [str(tmp_path) in line for line in lines] == [True] * (not resume)
    assert cfg.resume == resume
    assert cfg.load_from == (None if resume else "a.pth")


FLOAT16 = dict(type="AmpOptimWrapper")
BFLOAT16 = dict(type="BFloat16OptimWrapper")


@pytest.mark.parametrize(
    ("device", "wrapper", "expected"),
    [
        ("cuda", {}, dict(type="AmpOptimWrapper", loss_scale="dynamic")),
        (
            "cuda",
            dict(loss_scale=512.0),
            dict(type="AmpOptimWrapper", loss_scale=512.0),
        ),
        ("cuda", BFLOAT16, BFLOAT16),
        ("cpu", {}, BFLOAT16),
        ("cpu", FLOAT16 | dict(loss_scale=512.0), BFLOAT16),
        ("cpu", FLOAT16 | dict(dtype="bfloat16"), BFLOAT16),
        ("cpu", BFLOAT16, BFLOAT16),
    ],
)
def test_amp_chooses_the_wrapper_of_the_device(monkeypatch, device, wrapper, expected):
    enable_amp = load_tool("train").enable_amp
    monkeypatch.setitem(enable_amp.__globals__, "get_device", lambda: device)
    cfg = Config(dict(optim_wrapper=dict(type="OptimWrapper") | wrapper))
    enable_amp(cfg)
    assert cfg.optim_wrapper == expected


def test_amp_refuses_what_it_would_drop():
    enable_amp = load_tool("train").enable_amp
    wrapper = dict(type="AmpOptimWrapper", dtype="float16")
    with pytest.raises(ValueError, match=r"dtype='float16' needs a GPU"):
        enable_amp(Config(dict(optim_wrapper=wrapper)))
    with pytest.raises(ValueError, match=r"--amp .* got 'ApexOptimWrapper'"):
        enable_amp(Config(dict(optim_wrapper=dict(type="ApexOptimWrapper"))))


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


def test_epochs_are_refused_before_anything_is_built(tiny, tmp_path):
    with pytest.raises(SystemExit, match=r"max_epochs=2: .*--epochs 2 instead"):
        run_tool(
            TOOLS / "train.py", tiny, "--work-dir", tmp_path / "work",
            "--cfg-options", "train_cfg.max_epochs=2",
        )  # fmt: skip
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("load_from", "is_refused"),
    [
        ("work/iter_4.pth", True),
        ("work/best_mIoU_epoch_4.pth", True),
        ("work/pretrained.pth", False),
        ("other/iter_4.pth", False),
        ("https://example.org/iter_4.pth", False),
        (None, False),
    ],
)
def test_a_run_does_not_replace_what_it_begins_with(
    tmp_path, monkeypatch, load_from, is_refused
):
    monkeypatch.chdir(tmp_path)
    refuse = load_tool("train").refuse_own_start
    cfg = Config(dict(work_dir=str(tmp_path / "work"), load_from=load_from))
    if not is_refused:
        refuse(cfg)
        return
    with pytest.raises(ValueError, match=f"load_from={load_from} is .*--resume"):
        refuse(cfg)


@pytest.mark.slow
def test_metrics_of_the_config_replace_no_masks(tiny, straight, scenes, tmp_path):
    masks = scenes / "SegmentationClass"
    before = contents(masks)
    with pytest.raises(SystemExit, match=r"output_dir of IoUMetric .* --overwrite"):
        run_tool(
            TOOLS / "test.py", tiny, straight.work_dir / "iter_4.pth",
            "--work-dir", tmp_path / "work",
            "--cfg-options", f"test_evaluator.0.output_dir={masks}",
        )  # fmt: skip
    assert contents(masks) == before


@pytest.mark.slow
def test_panels_do_not_name_classes_wrongly(tiny, straight, tmp_path):
    classes = "background,crate,ball,fish,leaf,starfish"
    with pytest.raises(SystemExit, match=r"class 1 is 'crate' in val_data.*but 'ball'"):
        run_tool(
            TOOLS / "analysis" / "draw_panels.py", tiny,
            straight.work_dir / "iter_4.pth", tmp_path / "panels",
            "--cfg-options", f"val_dataloader.dataset.metainfo.classes={classes}",
        )  # fmt: skip


def test_a_wrapper_for_gpus_is_refused_on_a_cpu(monkeypatch):
    refuse = load_tool("train").refuse_gpu_wrapper
    cfg = Config(dict(optim_wrapper=FLOAT16))
    monkeypatch.setitem(refuse.__globals__, "get_device", lambda: "cuda")
    refuse(cfg)
    monkeypatch.setitem(refuse.__globals__, "get_device", lambda: "cpu")
    with pytest.raises(ValueError, match=r"needs a GPU: .* train with --amp"):
        refuse(cfg)
    for other in (dict(), dict(optim_wrapper=None), dict(optim_wrapper=BFLOAT16)):
        refuse(Config(other))


@pytest.mark.slow
def test_a_scaled_run_keeps_its_length_when_it_resumes(tiny, tmp_path, capsys):
    train = (TOOLS / "train.py", tiny, "--work-dir", tmp_path)
    run_tool(*train, "--max-iters", "2")
    said = capsys.readouterr()
    for line in ("Scaled to 2 steps:", "model.loss_begin.loss_seg=1"):
        assert line in said.out + said.err
    assert (tmp_path / "iter_2.pth").is_file()
    run_tool(*train, "--resume")
    said = capsys.readouterr()
    assert "Scaled to 2 steps:" in said.out + said.err
    assert not (tmp_path / "iter_4.pth").exists()


def test_a_scaled_run_goes_without_the_hooks_that_are_removed(tiny, tmp_path):
    options = {
        "custom_hooks.EMATeacherHook": None,
        "default_hooks.supervision": None,
        "model.loss_begin.loss_seg": 3,
    }
    args = argparse.Namespace(
        config=str(tiny), launcher="none", local_rank=0, work_dir=str(tmp_path),
        cfg_options=options, max_iters=40, epochs=None,
    )  # fmt: skip
    cfg = runner_config(args)
    load_tool("train").apply_length(cfg, args)
    assert cfg.train_cfg.max_iters == 40
    assert cfg.model.loss_begin.loss_seg == 3
    assert cfg.custom_hooks == []
    assert "supervision" not in cfg.default_hooks


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "two"])
@pytest.mark.parametrize("option", ["--max-iters", "--epochs"])
def test_lengths_are_positive(monkeypatch, capsys, tiny, option, value):
    monkeypatch.setattr(sys, "argv", ["train.py", str(tiny), f"{option}={value}"])
    with pytest.raises(SystemExit):
        load_tool("train").parse_args()
    assert f"{value!r}: expected a" in capsys.readouterr().err
