"""Configs of a few lines: what follows from folder, classes and crop size."""

import re

import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_fsr.own_data import own_data_settings
from tests.support.meta_device import build_without_memory
from tests.support.project_files import CONFIGS
from tests.support.reduced_config import shallow_config

MODELS = sorted(path.stem for path in (CONFIGS / "_base_" / "models").glob("*.py"))
CLASSES = ("background", "cat", "dog")


def write_config(folder, model, recipe, arguments):
    """A config as docs/own_data.md shows one."""
    path = folder / "fsr_pets.py"
    bases = [f"{CONFIGS}/_base_/models/{model}.py", f"{CONFIGS}/_base_/{recipe}.py"]
    path.write_text(
        f"_base_ = {bases}\n"
        "from mmseg_fsr.own_data import own_data_settings\n"
        f"globals().update(own_data_settings(_base_, {arguments}))\n"
    )
    return Config.fromfile(path)


def small_data(folder, model="fsr_r50", more=""):
    arguments = f"data_root='data/pets/', classes={CLASSES}{more}"
    return write_config(folder, model, "recipes/small_data", arguments)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_network_takes_its_numbers_and_blocks_from_a_few_lines(model, tmp_path):
    side = 336 if "dinov2" in model else 320
    cfg = shallow_config(small_data(tmp_path, model, f", crop_size={side}"))
    cfg.model.backbone.init_cfg = None
    network = build_without_memory(cfg)
    assert (network.num_classes, network.cam_head.num_classes) == (3, 2)
    grid = network.backbone.grid_size(side, side)
    masked = network.mask_generator.max_masked((side, side), grid)
    assert 0 < masked < grid[0] * grid[1]
    # Some layer of the decoder normalises, as its first losses ask for.
    kinds = {type(layer).__name__ for layer in network.decode_head.modules()}
    assert kinds & {"BatchNorm2d", "SyncBatchNorm", "LayerNorm"}


def test_it_says_what_a_config_by_hand_says(tmp_path):
    cfg = small_data(tmp_path)
    by_hand = Config.fromfile(CONFIGS / "fsr_r50_voc-mini.py")
    for part in (cfg, by_hand):
        part.model.decode_head.pop("num_classes")
        part.model.cam_head.pop("num_classes")
        # On one process both are the same.
        part.model.decode_head.pop("norm_cfg")
    assert cfg.model == by_hand.model
    for key in ("param_scheduler", "optim_wrapper", "train_cfg", "custom_hooks"):
        assert cfg[key] == by_hand[key]


def test_the_paper_s_decoder_alone_gives_way_to_one_with_norm(tmp_path):
    vit = small_data(tmp_path, "fsr_vit-b").model.decode_head
    assert vit.type == "FCNHead"
    assert (vit.in_channels, vit.num_classes) == (768, 3)
    assert vit.loss_decode.type == "BalancedCrossEntropyLoss"
    assert "dilation" not in vit
    swin = small_data(tmp_path, "fsr_swin-t").model.decode_head
    assert (swin.type, swin.num_classes) == ("UPerHead", 3)


def test_the_crop_is_said_once(tmp_path):
    cfg = small_data(tmp_path, more=", crop_size=(320, 480)")
    former = small_data(tmp_path)
    for pipeline in (cfg.train_pipeline, cfg.train_dataloader.dataset.pipeline):
        # Height and width.
        assert pipeline[2].transforms[0][0].scale == (320, 480)
    for pipeline in (
        cfg.test_pipeline,
        cfg.val_dataloader.dataset.pipeline,
        cfg.test_dataloader.dataset.pipeline,
    ):
        # Width and height.
        assert pipeline[2].scale == (480, 320)
    assert cfg.model.backbone.img_size == (320, 480)
    # 64 does not divide 480.
    assert cfg.model.mask_generator.block_size == 32
    # Nothing else is touched.
    cfg.train_pipeline[2].transforms[0][0].scale = (448, 448)
    cfg.test_pipeline[2].scale = (448, 448)
    assert cfg.train_pipeline == former.train_pipeline
    assert cfg.test_pipeline == former.test_pipeline


@pytest.mark.parametrize(
    ("model", "size", "block"),
    [
        ("fsr_r50", 448, 64),
        ("fsr_r50", 224, 32),
        ("fsr_r50", (160, 240), 16),
        ("fsr_dinov2-s", 448, 56),
        ("fsr_dinov2-s", 336, 56),
        ("fsr_dinov2-s", 350, 14),
    ],
)
def test_blocks_are_the_largest_of_whole_cells_that_divide_the_crop(
    model, size, block, tmp_path
):
    cfg = small_data(tmp_path, model, f", crop_size={size}")
    assert cfg.model.mask_generator.block_size == block


def test_a_crop_without_whole_cells_is_refused_with_those_nearby(tmp_path):
    with pytest.raises(
        ValueError, match=r"\(300, 300\).*of 16.*\(288, 288\) or \(304,"
    ):
        small_data(tmp_path, more=", crop_size=300")


def test_a_pipeline_of_another_size_is_refused():
    base = dict(
        crop_size=(448, 448),
        model=dict(decode_head=dict(type="FCNHead")),
        train_pipeline=[dict(type="RandomCrop", crop_size=(448, 448))],
    )
    with pytest.raises(ValueError, match=r"no step of train_pipeline.*\(448, 448\)"):
        own_data_settings(base, data_root="x", classes=CLASSES, crop_size=320)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ("crop_sise=96", "'crop_sise': did you mean 'crop_size'?"),
        ("lr=1", "'lr': What"),
        ("dataset=1", "own_data_settings has no argument 'dataset': "),
    ],
)
def test_unknown_arguments_are_refused(wrong, error, tmp_path):
    with pytest.raises(ValueError, match=re.escape(error)):
        small_data(tmp_path, more=f", {wrong}")


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ({}, "no model: name a file of _base_/models/"),
        ({"model": {}}, "no train_pipeline: name a file of _base_/recipes/"),
    ],
)
def test_a_base_without_model_or_recipe_is_refused(base, words):
    with pytest.raises(ValueError, match=words):
        own_data_settings(base, data_root="data/pets/", classes=CLASSES)


@pytest.mark.parametrize("classes", ["cat", [1, 2], ("background", None)])
def test_classes_that_are_no_names_are_refused(classes):
    with pytest.raises(TypeError, match="expected names"):
        own_data_settings({}, data_root="x", classes=classes)


def test_rare_classes_come_more_often(tmp_path):
    (tmp_path / "images").mkdir()
    for number in range(20):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / f"{number}.png")
    labels = "image,defect\n" + "".join(f"{n}.png,{int(n == 3)}\n" for n in range(20))
    (tmp_path / "labels.csv").write_text(labels)
    cfg = write_config(
        tmp_path, "fsr_r50", "recipes/small_data",
        f"data_root={str(tmp_path)!r}, classes=('background', 'defect'), "
        "oversample_thr=0.5, crop_size=320, label_file='labels.csv', ann_file=''",
    )  # fmt: skip
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    shown = [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]
    # sqrt(0.5 / 0.05) = 3.2 times, rounded up.
    assert len(shown) == 23
    assert sum(path.endswith("/3.png") for path in shown) == 4
    assert dataset[0]["inputs"]["view1"].shape == (3, 320, 320)
    assert dataset.metainfo["classes"] == ("background", "defect")


def test_it_can_be_extended_and_is_the_same_after_a_run_wrote_it(tmp_path):
    cfg = small_data(tmp_path, more=", metainfo=dict(pixel_range=(0, 4095))")
    assert cfg.val_dataloader.dataset.metainfo.pixel_range == (0, 4095)
    cfg.dump(tmp_path / "written.py")
    written = Config.fromfile(tmp_path / "written.py")
    assert written.to_dict() == cfg.to_dict()
    (tmp_path / "longer.py").write_text(
        "_base_ = './fsr_pets.py'\nmax_iters = 8000\n"
        "train_cfg = dict(max_iters=max_iters)\n"
    )
    longer = Config.fromfile(tmp_path / "longer.py")
    assert longer.train_cfg.max_iters == 8000
    assert longer.model.decode_head.num_classes == 3


def test_without_masks_image_labels_are_scored(tmp_path):
    cfg = small_data(tmp_path, more=", masks=False, crop_size=320")
    for loader in (cfg.val_dataloader, cfg.test_dataloader):
        dataset = loader.dataset
        assert dataset.data_prefix == dict(img_path="images")
        assert dataset.label_file == "image_labels.json"
        assert dataset.pipeline == cfg.test_pipeline
    *_, resize, pack = cfg.test_pipeline
    assert (resize.scale, pack.type) == ((320, 320), "PackImageLabelSegInputs")
    (*_, augment) = cfg.tta_pipeline
    assert [[step.type for step in steps] for steps in augment.transforms] == [
        ["Resize"] * 3,
        ["RandomFlip"] * 2,
        ["PackImageLabelSegInputs"],
    ]
    assert [metric.type for metric in cfg.val_evaluator] == ["ImageLabelMetric"]
    assert cfg.test_evaluator == cfg.val_evaluator
    assert cfg.default_hooks.checkpoint.save_best == "cls/mAP"
    assert cfg.default_hooks.checkpoint.interval == 1000


def test_other_settings_change_nothing_else(tmp_path):
    settings = {
        "train_dataloader.batch_size": 4,
        "model": dict(loss_begin=dict(loss_seg=0)),
        "default_hooks.logger.interval": 10,
    }
    cfg = small_data(tmp_path, "fsr_vit-b", f", masks=False, settings={settings}")
    former = small_data(tmp_path, "fsr_vit-b", ", masks=False")
    assert cfg.train_dataloader.pop("batch_size") == 4
    assert cfg.model.loss_begin.pop("loss_seg") == 0
    assert cfg.default_hooks.logger.pop("interval") == 10
    for part in (former.train_dataloader, former.model, former.default_hooks):
        assert part
    former.train_dataloader.pop("batch_size")
    former.model.loss_begin.pop("loss_seg")
    former.default_hooks.logger.pop("interval")
    assert cfg.to_dict() == former.to_dict()


def test_without_masks_the_folder_of_images_is_one(tmp_path):
    more = ", masks=False, data_prefix=dict(img_path='photos')"
    cfg = small_data(tmp_path, more=more)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_prefix == dict(img_path="photos")


def test_a_label_file_is_for_images_without_masks(tmp_path):
    files = [
        [
            cfg[loader].dataset.get("label_file")
            for loader in ("train_dataloader", "val_dataloader")
        ]
        for cfg in (
            small_data(tmp_path, more=", label_file='a.csv'"),
            small_data(tmp_path, more=", label_file='a.csv', masks=False"),
        )
    ]
    assert files == [["a.csv", None], ["a.csv", "a.csv"]]


@pytest.mark.parametrize(
    "wrong",
    [
        "crop_size=0", "crop_size=(96,)", "crop_size='96'", "crop_size=96.0",
        "oversample_thr=0", "oversample_thr=2",
    ],
)  # fmt: skip
def test_arguments_out_of_range_are_refused(wrong, tmp_path):
    name = wrong.partition("=")[0]
    with pytest.raises(ValueError, match=rf"{name}=.*: expected"):
        small_data(tmp_path, more=f", {wrong}")
