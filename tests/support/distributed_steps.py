"""One of two processes that train a few steps of configs: ``python FILE NAME ...``."""

import sys

import torch
import torch.distributed as dist
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules
from torch.nn.parallel import DistributedDataParallel

import mmseg_fsr  # noqa: F401  (registers the components)
from tests.support.project_files import load_config
from tests.support.reduced_config import phases, reduced_config, view_sizes
from tests.support.training_samples import random_batch


class Losses(torch.nn.Module):
    """What MMDistributedDataParallel calls of a segmentor."""

    def __init__(self, segmentor: torch.nn.Module) -> None:
        super().__init__()
        self.segmentor = segmentor

    def forward(self, *batch):
        return sum(self.segmentor.loss(*batch).values())


def train(name: str) -> None:
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


def main() -> None:
    register_all_modules(init_default_scope=True)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(dist.get_rank())
    for name in sys.argv[1:]:
        train(name)
        if dist.get_rank() == 0:
            print(f"trained {name}", flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
