"""What the docs say, tried: links, commands, configs, and what pages promise."""

import argparse
import ast
import importlib
import inspect
import json
import pkgutil
import re
import runpy
import shutil
import sys
from dataclasses import fields
from pathlib import Path

import mmseg
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmseg.registry import DATASETS, HOOKS, MODELS
from mmseg.visualization import SegLocalVisualizer
from PIL import Image

import mmseg_fsr
from mmseg_fsr.ablation import planned_runs, read_table
from mmseg_fsr.cli.arguments import merge_options
from mmseg_fsr.cli.run_length import set_length
from mmseg_fsr.datasets.mask_file import write_mask
from tests.support import pages
from tests.support.meta_device import build_without_memory, patch_for_meta_device
from tests.support.pages import PAGES
from tests.support.project_files import CONFIGS, ROOT, TOOLS
from tests.support.runs import own_globals, run_tool
from tests.support.training_samples import random_batch

STOCK = Path(mmseg.__path__[0]) / ".mim"
COMMANDS = list(pages.commands())
SHOWN = dict(pages.shown_configs())


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with ``configs/fsr``, and the configs that pages show among them."""
    folder = tmp_path_factory.mktemp("written")
    pages.write_shown_configs(folder)
    return folder


# --------------------------------------------------- links, commands, configs


def anchors(page):
    """Names of a page's titles, as GitHub and MkDocs make them: without punctuation."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", x.lower()).replace(" ", "-") for x in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_within_the_project_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_it_names_are_there(page):
    named = re.findall(
        r"\b((?:tools|configs/fsr)/[\w./-]+\.(?:py|sh))", page.read_text()
    )
    missing = {name for name in named if not (ROOT / name).exists()}
    # Those that the reader is told to write.
    assert missing <= {f"configs/fsr/{name}" for name in SHOWN}


class ParsedError(Exception):
    """A tool has read its arguments, which is enough."""


def parsed(tool, words, monkeypatch):
    """What a tool makes of its command line, before it does anything."""
    parse_args = argparse.ArgumentParser.parse_args

    def stop(*args, **kwargs):
        raise ParsedError(parse_args(*args, **kwargs))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [str(tool), *words])
    with pytest.raises(ParsedError) as caught:
        runpy.run_path(str(tool), run_name="__main__")
    return caught.value.args[0]


def build_hooks(cfg):
    with own_globals():
        # The hook of predictions looks for it.
        SegLocalVisualizer.get_instance("docs")
        for hook in (*cfg.default_hooks.values(), *cfg.get("custom_hooks", [])):
            HOOKS.build(hook)


@pytest.mark.parametrize(("tool", "words"), COMMANDS)
def test_commands_fit_their_tools_and_configs(tool, words, written, monkeypatch):
    args = parsed(ROOT / tool.replace("$MMSEG", str(STOCK)), words, monkeypatch)
    options, config = (getattr(args, name, None) for name in ("cfg_options", "config"))
    if options and config != "CONFIG":
        cfg = Config.fromfile(written / config)
        merge_options(cfg, options)
        build_hooks(cfg)
        if any(key.startswith("model.") for key in options):
            build_without_memory(cfg)


@pytest.mark.parametrize("name", SHOWN)
def test_shown_configs_build(name, written):
    if "timm" in SHOWN[name].lower():
        pytest.importorskip("timm")
    cfg = Config.fromfile(written / "configs" / "fsr" / name)
    build_hooks(cfg)
    build_optim_wrapper(build_without_memory(cfg), cfg.optim_wrapper)


@pytest.mark.parametrize(
    "program",
    [block.text for block in pages.blocks("python") if not pages.is_config(block.text)],
)
def test_programs_import_what_there_is(program):
    tree = ast.parse(program)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            pytest.importorskip(node.module.split(".")[0])
            module = importlib.import_module(node.module)
            assert all(hasattr(module, name.name) for name in node.names)


# ------------------------------------------------------------- one's own data

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
train_pipeline, test_pipeline = _base_.train_pipeline, _base_.test_pipeline
train_pipeline[2].transforms[0][0].scale = (128, 128)
test_pipeline[2].scale = (128, 128)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(
    num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline)
)
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""


@pytest.fixture
def pets(tmp_path, monkeypatch):
    """The folder that a page describes, and its config."""
    labels = pages.block("json", "tom")
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

    configs = pages.write_shown_configs(tmp_path)
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
    path = tmp_path / "fsr" / "ablations" / "our_ratios.yaml"
    path.write_text(pages.block("yaml", "cfg_options"))
    table = read_table(path)
    # The page's table of keys names all that there are, but for those of a claim.
    for field in (*fields(table), *fields(table.rows[0])):
        if field.name not in ("path", "rows", "name"):
            assert pages.rows_with(f"`{field.name}`"), field.name
    rows = {run.row.name: run.read_config() for run in planned_runs(table, seeds=[0])}
    assert rows["0.4"].model.mask_generator.mask_ratio == 0.4
    assert rows["0.2"].model.mask_generator.mask_ratio == 0.2
    assert rows["random"].model.mask_generator.strategy == "random"
    for cfg in rows.values():
        assert cfg.default_hooks.teacher_scoring.validate == "student"


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


@pytest.mark.slow
def test_own_images_without_masks_are_trained_on_and_get_masks(pets):
    config = pets / "fsr_pets-small.py"
    shutil.rmtree("data/pets/masks")
    Path("data/pets/val.txt").unlink()
    options = ("--cfg-options", *pages.options_of("val_cfg=None"))
    run_tool(TOOLS / "train.py", config, *options)
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
    (length,) = re.findall(
        r"--max-iters (\d+)", pages.block("bash", "fsr_pets.py --max-iters")
    )
    cfg, full = (Config.fromfile(pets / "fsr_pets.py") for _ in range(2))
    told = "\n  ".join([f"Scaled to {length} steps:", *set_length(cfg, int(length))])
    assert told in pages.block("", "Scaled to")
    parts = full.train_cfg.max_iters // cfg.train_cfg.max_iters
    assert parts == 5
    steps = {name: parts * number for name, number in cfg.model.loss_begin.items()}
    assert steps == full.model.loss_begin
    long = learning_rates(full)[parts // 2 :: parts]
    assert learning_rates(cfg) == pytest.approx(long, abs=0.01 * max(long))
    assert cfg.custom_hooks[0].momentum < full.custom_hooks[0].momentum
    for interval in (
        cfg.train_cfg.val_interval,
        cfg.default_hooks.checkpoint.interval,
    ):
        assert cfg.train_cfg.max_iters % interval == 0


def test_accumulation_keeps_the_demo_but_for_the_size_of_its_batches(written):
    configs = written / "configs" / "fsr"
    cfg = Config.fromfile(configs / "fsr_vit-t_scenes_accumulated.py")
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
def efficientnet(written):
    """The config of a page on backbones of others, without its download."""
    pytest.importorskip("timm")
    return Config.fromfile(written / "configs/fsr/fsr_efficientnet-b0_voc.py")


@pytest.mark.slow
def test_another_backbone_takes_a_step(efficientnet, training_step):
    training_step(19999, 20000)
    model = MODELS.build(efficientnet.model).train()
    losses = model.loss(*random_batch([(128, 128)] * 2, 20))
    assert losses.keys() == set(model.LOSSES)
    sum(losses.values()).backward()
    for name, value in model.named_parameters():
        assert not value.requires_grad or value.grad.isfinite().all(), name


def test_another_backbone_is_refused_with_the_page_s_words(efficientnet):
    base = Config.fromfile(CONFIGS / "fsr_vit-b_1xb8_voc.py").model
    for head in ("decode_head", "cam_head", "distill_head"):
        efficientnet.model[head] = base[head]
    expected = pages.block("", "ValueError: decode_head").removeprefix("ValueError: ")
    with pytest.raises(ValueError, match="in_channels") as error:
        MODELS.build(efficientnet.model)
    assert str(error.value) == " ".join(expected.split())


def test_the_contrast_stands_beside_the_head_of_mmsegs_own_config(written):
    cfg = Config.fromfile(written / "configs/fsr/supervised/ptc.py")
    stock = Config.fromfile(
        STOCK
        / "configs/deeplabv3plus"
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


def test_the_distillation_fits_mmsegs_own_config(written, training_step, monkeypatch):
    patch_for_meta_device(monkeypatch)
    cfg = Config.fromfile(written / "configs/fsr/supervised/distill.py")
    model = build_without_memory(cfg).train()
    training_step(0, 10)
    with torch.device("meta"):
        features = model.extract_feat(torch.zeros(2, 3, *cfg.crop_size))
    assert model.decode_head(features).shape == (2, 21, 32, 32)
    assert model.auxiliary_head.loss(features, []).keys() == {
        "loss_fsr_class",
        "loss_fsr_patch",
    }
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert {group["lr"] for group in optimizer.param_groups} == {6e-5, 10.0 * 6e-5}


# ---------------------------------------------------------------- docstrings


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
