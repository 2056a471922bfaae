"""The demo's config, made so small that a run takes a second or two."""

from pathlib import Path

from mmengine.config import Config

from mmseg_fsr.scenes import write_scenes
from tests.support.project_files import CONFIGS

MAX_ITERS = 4
CROP = 32

# Every phase lies within the four steps: random masks to step 2, segmentation from
# step 2 on, affinity from step 3 on.
_TEMPLATE = """
_base_ = {base!r}
crop_size = {crop_size!r}
channels = 16
model = dict(
    backbone=dict(
        arch=dict(
            embed_dims=channels, num_layers=3, num_heads=2, feedforward_channels=32
        ),
        img_size={crop_size[0]},
        patch_size=8,
        aggregator=dict(num_heads=2),
    ),
    decode_head=dict(in_channels=channels, channels=channels),
    cam_head=dict(in_channels=channels),
    distill_head=dict(
        in_channels=channels, hidden_channels=32, bottleneck_channels=8, out_channels=16
    ),
    mask_generator=dict(block_size=16, random_phase=0.5),
    loss_begin=dict(loss_seg=1, loss_energy=1, loss_ptc=2),
)
max_iters = {max_iters}
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=2),
    dict(type="CosineAnnealingLR", by_epoch=False, begin=1, end=max_iters),
]
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root={data_root!r}, pipeline={train_pipeline!r}),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root={data_root!r}, pipeline={test_pipeline!r}),
)
test_dataloader = val_dataloader
test_pipeline = {test_pipeline!r}
default_hooks = dict(
    logger=dict(interval=1), checkpoint=dict(interval=2, max_keep_ckpts=-1)
)
"""


def write_tiny_config(folder: Path) -> Path:
    """Writes a dozen scenes and a config that trains on them for four steps.

    Args:
        folder: Existing folder; gets ``scenes/`` and ``tiny.py``.

    Returns:
        The config's path. Its base is ``configs/fsr/fsr_vit-t_scenes.py``.
    """
    base = CONFIGS / "fsr_vit-t_scenes.py"
    pipelines = Config.fromfile(base)
    train_pipeline = pipelines.train_pipeline
    train_pipeline[2].transforms[0][0].scale = (CROP, CROP)
    test_pipeline = pipelines.test_pipeline
    test_pipeline[2].scale = (CROP, CROP)
    write_scenes(folder / "scenes", train=12, val=4, size=48)
    config = folder / "tiny.py"
    config.write_text(
        _TEMPLATE.format(
            base=str(base),
            crop_size=(CROP, CROP),
            max_iters=MAX_ITERS,
            data_root=str(folder / "scenes"),
            train_pipeline=[step.to_dict() for step in train_pipeline],
            test_pipeline=[step.to_dict() for step in test_pipeline],
        )
    )
    return config
