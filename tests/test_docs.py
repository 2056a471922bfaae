"""What the docs say, tried: the page on one's own images, and the links."""

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import re
import shlex
import shutil
from dataclasses import fields
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.structures import LabelData
from mmseg.registry import DATASETS, HOOKS, MODELS
from mmseg.structures import SegDataSample
from PIL import Image

import mmseg_fsr
from mmseg_fsr.ablation import planned_runs, read_table
from mmseg_fsr.cli.arguments import add_cfg_options
from mmseg_fsr.datasets.mask_file import write_mask
from tests.support.meta_device import build_without_memory, patch_for_meta_device
from tests.support.project_files import CONFIGS, ROOT, TOOLS

from .test_end_to_end.runs import run_tool

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


# The page's network takes minutes a step on a CPU.
_SMALL = """
_base_ = "./fsr_pets.py"
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=16,
            num_layers=3,
            num_heads=2,
            feedforward_channels=32,
        ),
        aggregator=dict(num_heads=2),
        init_cfg=None,
    ),
    decode_head=dict(in_channels=16, channels=16),
    cam_head=dict(in_channels=16),
    distill_head=dict(
        in_channels=16, hidden_channels=16, bottleneck_channels=8, out_channels=16
    ),
    loss_begin=dict(loss_seg=0, loss_energy=0),
)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """The folder and the config that docs/own_data.md describes."""
    page = (ROOT / "docs" / "own_data.md").read_text()
    (labels,), (code,) = blocks(page, "json"), blocks(page, "python")
    root = tmp_path / "data" / "pets"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in json.loads(labels):
        image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(image).save(root / "images" / f"{name}.jpg")
    mask = np.zeros((40, 60), np.uint8)
    mask[:9], mask[9:20], mask[20:22] = 1, 2, 255
    write_mask(root / "masks" / "both.png", mask, [[0, 0, 0]])
    (root / "train.txt").write_text("tom\nrex\ngarden\n")
    (root / "val.txt").write_text("both\n")
    (root / "image_labels.json").write_text(labels)

    configs = tmp_path / "configs" / "fsr"
    shutil.copytree(CONFIGS, configs)
    (configs / "fsr_pets.py").write_text(code)
    (configs / "fsr_pets-small.py").write_text(_SMALL)
    monkeypatch.chdir(tmp_path)
    return configs


def test_own_images_are_read_with_their_labels(pets):
    cfg = Config.fromfile(pets / "fsr_pets.py")
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert len(dataset) == 3
    for item, label in zip(dataset, ([1, 0], [0, 1], [0, 0]), strict=False):
        assert item["inputs"]["view1"].shape == (3, 448, 448)
        assert item["data_samples"].gt_label.label.tolist() == label
    (item,) = DATASETS.build(cfg.val_dataloader.dataset)
    found = np.unique(item["data_samples"].gt_sem_seg.data)
    assert found.tolist() == [0, 1, 2, 255]
    assert cfg.test_dataloader == cfg.val_dataloader
    model = build_without_memory(cfg)
    assert model.num_classes == 3
    assert model.cam_head.num_classes == 2


@pytest.mark.slow
def test_own_images_are_trained_on_tested_and_drawn(pets):
    config = pets / "fsr_pets-small.py"
    run_tool(TOOLS / "train.py", config)
    checkpoint = "work_dirs/fsr_pets-small/iter_2.pth"
    run_tool(TOOLS / "test.py", config, checkpoint, "--work-dir", "scores")
    (scores,) = Path("scores").glob("*/*.json")
    assert {"mIoU", "teacher/mIoU", "cam/mIoU"} <= json.loads(scores.read_text()).keys()
    run_tool(TOOLS / "analysis/draw_panels.py", config, checkpoint, "pictures")
    assert [path.name for path in Path("pictures").iterdir()] == ["both.png"]


def test_the_ablation_of_one_s_own_fits_its_config(tmp_path):
    shutil.copytree(CONFIGS, tmp_path / "fsr")
    page = (ROOT / "docs" / "run_ablations.md").read_text()
    (text,) = blocks(page, "yaml")
    path = tmp_path / "fsr" / "ablations" / "our_ratios.yaml"
    path.write_text(text)
    table = read_table(path)
    # The page's table of keys names all that there are, but for those of a claim.
    for field in (*fields(table), *fields(table.rows[0])):
        if field.name not in ("path", "rows", "name"):
            assert f"`{field.name}`" in page
    rows = {run.row.name: run.read_config() for run in planned_runs(table, seeds=[0])}
    assert rows["0.4"].model.mask_generator.mask_ratio == 0.4
    assert rows["0.2"].model.mask_generator.mask_ratio == 0.2
    assert rows["random"].model.mask_generator.strategy == "random"
    for cfg in rows.values():
        assert cfg.custom_hooks[0].type == "EMATeacherHook"
        assert cfg.custom_hooks[0].validate == "student"


def learning_rates(cfg):
    """The rate of each iteration."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build(scheduler, default_args=dict(optimizer=optimizer))
        for scheduler in cfg.param_scheduler
    ]
    rates = []
    for _ in range(cfg.train_cfg.max_iters):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def options_of(page, word):
    """What stands from ``--cfg-options`` on in the page's command with that word."""
    text = (ROOT / "docs" / page).read_text()
    (command,) = (block for block in blocks(text, "bash") if word in block)
    words = shlex.split(command.replace("\\\n", " "))
    return words[words.index("--cfg-options") :]


@pytest.mark.slow
def test_own_images_without_masks_are_trained_on_and_get_masks(pets):
    config = pets / "fsr_pets-small.py"
    shutil.rmtree("data/pets/masks")
    Path("data/pets/val.txt").unlink()
    run_tool(TOOLS / "train.py", config, *options_of("data.md", "val_cfg=None"))
    run_tool(TOOLS / "report.py", "work_dirs/fsr_pets-small")
    assert Path("work_dirs/fsr_pets-small/report.html").is_file()
    run_tool(
        TOOLS / "export_pseudo_labels.py", config,
        "work_dirs/fsr_pets-small/iter_2.pth", "--source", "seg", "--tta", "--crf",
        "--out", "data/pets/predicted",
    )  # fmt: skip
    names = sorted(path.stem for path in Path("data/pets/predicted").glob("*.png"))
    assert names == ["garden", "rex", "tom"]
    # What its labels do not allow is not in a mask.
    assert not np.array(Image.open("data/pets/predicted/garden.png")).any()


def test_a_shorter_run_has_every_phase(pets):
    words = options_of("configs.md", "fsr_pets.py")
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    options = parser.parse_args(words).cfg_options
    cfg, full = (Config.fromfile(pets / "fsr_pets.py") for _ in range(2))
    cfg.merge_from_dict(options)
    parts = full.train_cfg.max_iters // cfg.train_cfg.max_iters
    assert parts == 5
    steps = {name: parts * number for name, number in cfg.model.loss_begin.items()}
    assert steps == full.model.loss_begin
    long = learning_rates(full)[parts // 2 :: parts]
    assert learning_rates(cfg) == pytest.approx(long, abs=0.01 * max(long))
    assert cfg.custom_hooks[0].type == "EMATeacherHook"
    for interval in (
        cfg.train_cfg.val_interval,
        cfg.default_hooks.checkpoint.interval,
    ):
        assert cfg.train_cfg.max_iters % interval == 0


def test_accumulation_keeps_the_demo_but_for_the_size_of_its_batches(tmp_path):
    shutil.copytree(CONFIGS, tmp_path / "fsr")
    page = (ROOT / "docs" / "configs.md").read_text()
    (code,) = (block for block in blocks(page, "python") if "accumulative" in block)
    (tmp_path / "fsr" / "accumulated.py").write_text(code)
    cfg = Config.fromfile(tmp_path / "fsr" / "accumulated.py")
    demo = Config.fromfile(CONFIGS / "fsr_vit-t_scenes.py")
    parts = cfg.optim_wrapper.accumulative_counts
    assert parts > 1
    batch_size = cfg.train_dataloader.batch_size
    assert parts * batch_size == demo.train_dataloader.batch_size
    assert learning_rates(cfg)[::parts] == pytest.approx(learning_rates(demo))
    steps = {name: number / parts for name, number in cfg.model.loss_begin.items()}
    assert steps == demo.model.loss_begin
    for hook, settings in demo.default_hooks.items():
        if "interval" in settings:
            interval = cfg.default_hooks[hook].interval
            assert interval == parts * settings.interval, hook
    assert cfg.train_cfg.val_interval == parts * demo.train_cfg.val_interval
    # Nothing else differs.
    cfg.optim_wrapper.pop("accumulative_counts")
    cfg.model.loss_begin = demo.model.loss_begin
    assert cfg.optim_wrapper == demo.optim_wrapper
    assert cfg.model == demo.model


@pytest.fixture
def efficientnet(tmp_path):
    """The config that docs/another_backbone.md writes, without its download."""
    pytest.importorskip("timm")
    shutil.copytree(CONFIGS, tmp_path / "fsr")
    page = (ROOT / "docs" / "another_backbone.md").read_text()
    code = blocks(page, "python")[0]
    assert "pretrained=True" in code
    path = tmp_path / "fsr" / "fsr_efficientnet.py"
    path.write_text(code.replace("pretrained=True", "pretrained=False"))
    return Config.fromfile(path)


def test_another_backbone_takes_a_step(efficientnet, training_step):
    training_step(19999, 20000)
    model = MODELS.build(efficientnet.model).train()
    view = torch.randn(2, 3, 128, 128)
    labels = torch.zeros(2, 20)
    labels[:, 3] = 1
    samples = [SegDataSample(gt_label=LabelData(label=label)) for label in labels]
    losses = model.loss(dict(view1=view, view2=view), samples)
    assert losses.keys() == set(model.LOSSES)
    sum(losses.values()).backward()
    for name, value in model.named_parameters():
        assert not value.requires_grad or value.grad.isfinite().all(), name


def test_another_backbone_is_refused_with_the_page_s_words(efficientnet):
    base = Config.fromfile(CONFIGS / "fsr_vit-b_1xb8_voc.py").model
    for head in ("decode_head", "cam_head", "distill_head"):
        efficientnet.model[head] = base[head]
    page = (ROOT / "docs" / "another_backbone.md").read_text()
    (expected,) = re.findall(r"```\nValueError: (.*?)\n```", page, re.DOTALL)
    with pytest.raises(ValueError, match="in_channels") as error:
        MODELS.build(efficientnet.model)
    assert str(error.value) == " ".join(expected.split())


@pytest.fixture
def supervised():
    """The two configs of docs/supervised.md: of the contrast, of the distillation."""
    page = (ROOT / "docs" / "supervised.md").read_text()
    contrast, distillation = blocks(page, "python")
    return contrast, distillation


def test_the_contrast_stands_beside_the_head_of_mmsegs_own_config(supervised, tmp_path):
    contrast, _ = supervised
    (tmp_path / "contrast.py").write_text(contrast)
    cfg = Config.fromfile(tmp_path / "contrast.py")
    stock = Config.fromfile(
        Path(mmseg.__path__[0])
        / ".mim/configs/deeplabv3plus"
        / "deeplabv3plus_r50-d8_4xb4-20k_voc12aug-512x512.py"
    )
    fcn, ptc = cfg.model.auxiliary_head
    assert fcn == stock.model.auxiliary_head
    # The page's numbers: float32 cosines of the cells of a batch.
    (side,) = set(stock.crop_size)
    for stride, megabytes in ((8, 268), (16, 17)):
        cells = (side // stride) ** 2
        size = stock.train_dataloader.batch_size * cells**2 * 4
        assert round(size / 1e6) == megabytes
    model = build_without_memory(cfg).eval()
    with torch.device("meta"):
        maps = model.backbone(torch.zeros(1, 3, 64, 64))
    # The last of its maps, of stride 8.
    assert ptc.in_index == len(maps) - 1
    assert maps[ptc.in_index].shape == (1, 2048, 8, 8)


def test_the_distillation_fits_mmsegs_own_config(
    supervised, training_step, monkeypatch, tmp_path
):
    patch_for_meta_device(monkeypatch)
    _, distillation = supervised
    (tmp_path / "distillation.py").write_text(distillation)
    cfg = Config.fromfile(tmp_path / "distillation.py")
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)
    model = build_without_memory(cfg).train()
    with torch.device("meta"):
        features = model.extract_feat(torch.zeros(2, 3, *cfg.crop_size))
    assert model.decode_head(features).shape == (2, 21, 32, 32)
    training_step(0, 10)
    assert model.auxiliary_head.loss(features, []).keys() == {
        "loss_fsr_class",
        "loss_fsr_patch",
    }
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert {group["lr"] for group in optimizer.param_groups} == {6e-5, 10.0 * 6e-5}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        if anchor:
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            # As GitHub makes them: without punctuation.
            anchors = {
                re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
                for title in titles
            }
            assert anchor in anchors, target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_commands_name_are_there(page):
    named = re.findall(
        r"\b((?:tools|configs/fsr)/[\w./-]+\.(?:py|sh))", page.read_text()
    )
    missing = {name for name in named if not (ROOT / name).exists()}
    # Those that the reader is told to write.
    assert missing <= {
        "configs/fsr/fsr_efficientnet-b0_voc.py",
        "configs/fsr/fsr_pets.py",
        "configs/fsr/fsr_vit-t_scenes_accumulated.py",
        "configs/fsr/supervised/distill.py",
        "configs/fsr/supervised/ptc.py",
    }


@pytest.mark.parametrize(
    "tool", sorted(TOOLS.rglob("*.py")), ids=lambda tool: tool.stem
)
def test_examples_of_a_tool_s_help_keep_their_lines(tool):
    # A line that ends in a backslash is joined to the next in a string that is not raw.
    assert not re.search(r"\S {2,}\S", ast.get_docstring(ast.parse(tool.read_text())))


ARGUMENT = re.compile(r"^    (\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
# A literal; not the words for one that takes more to say.
DEFAULT = re.compile(
    r"Defaults to (?:``([^`]+)``|(True|False|None|\([^)]+\)|[\d.e-]+(?: / \d+)?))"
)


def described_callables():
    """The package's functions, classes and their methods."""
    for found in pkgutil.walk_packages(mmseg_fsr.__path__, "mmseg_fsr."):
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            if callable(value) and getattr(value, "__module__", "") == found.name:
                yield value
                if inspect.isclass(value):
                    yield from filter(inspect.isfunction, vars(value).values())


def test_defaults_are_those_that_docstrings_name():
    named, actual = {}, {}
    for described in described_callables():
        arguments = ARGUMENT.findall(inspect.cleandoc(described.__doc__ or ""))
        for argument, text in arguments:
            default = DEFAULT.search(" ".join(text.split()))
            if default is None or ", ..., " in text:
                continue
            key = f"{described.__module__}.{described.__qualname__}: {argument}"
            named[key] = eval((default[1] or default[2]).rstrip("."))
            actual[key] = inspect.signature(described).parameters[argument].default
    assert len(named) > 100
    assert actual == named
