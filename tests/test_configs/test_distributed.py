"""Two processes train a config of each family: no parameter is idle.

The plain ViT's is in test_end_to_end/test_run.py.
"""

import pytest
import torch
import torch.distributed as dist
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch.nn.parallel import DistributedDataParallel

from tests.support.project_files import load_config
from tests.support.ranks import run_ranks
from tests.support.reduced_config import phases, reduced_config, view_sizes
from tests.support.training_samples import random_batch

FAMILIES = [
    "fsr_r18_scenes",
    "fsr_convnext-t_voc",
    "fsr_mit-b1_voc",
    "fsr_swin_scenes",
    "fsr_dinov2-s_voc",
    "ablations/r50_voc-mini_local-crops",
]


class Losses(torch.nn.Module):
    """What MMDistributedDataParallel calls of a segmentor."""

    def __init__(self, segmentor):
        super().__init__()
        self.segmentor = segmentor

    def forward(self, *batch):
        return sum(self.segmentor.loss(*batch).values())


def train(name):
    """Trains a step of each phase, and a last one; parameters must stay the same."""
    cfg = reduced_config(load_config(name))
    # SyncBN needs GPUs.
    segmentor = revert_sync_batchnorm(MODELS.build(cfg.model)).train()
    optim_wrapper = build_optim_wrapper(segmentor, cfg.optim_wrapper)
    model = DistributedDataParallel(Losses(segmentor), broadcast_buffers=False)
    hub = MessageHub.get_current_instance()
    hub.update_info("max_iters", cfg.max_iters)
    # A step after an idle parameter fails: the last phase comes twice.
    for iteration in [*phases(cfg), cfg.max_iters - 1]:
        hub.update_info("iter", iteration)
        batch = random_batch(view_sizes(cfg), segmentor.cam_head.num_classes)
        optim_wrapper.update_params(model(*batch))
    for key, value in segmentor.named_parameters():
        values = [torch.empty_like(value) for _ in range(dist.get_world_size())]
        dist.all_gather(values, value.detach())
        assert torch.equal(*values), f"{name}: {key} differs between the processes"


def train_all(rank):
    torch.manual_seed(rank)
    for name in FAMILIES:
        train(name)
    return FAMILIES


@pytest.mark.slow
def test_no_parameter_is_idle():
    assert run_ranks(train_all, 2) == [FAMILIES] * 2
