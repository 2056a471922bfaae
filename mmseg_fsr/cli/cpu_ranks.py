"""Distributed runs on a machine without an accelerator."""

import atexit
import datetime

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed


def prepare_cpu_distributed(cfg: Config) -> None:
    """Lets a runner of ``launcher='pytorch'`` work without an accelerator.

    mmengine's launcher selects a CUDA device and passes it to the model's wrapper; both
    fail on a CPU. This sets up the process group with gloo, from the environment that
    ``torchrun`` sets, and mmengine keeps a group that is already there. It also tells
    the wrapper that there are no device ids. With an accelerator or another launcher it
    does nothing.

    Args:
        cfg: Config of the run, whose ``model_wrapper_cfg`` is changed in place.
    """
    if cfg.get("launcher") != "pytorch" or get_device() != "cpu":
        return
    if not is_distributed():
        timeout = cfg.get("env_cfg", {}).get("dist_cfg", {}).get("timeout", 1800)
        torch.distributed.init_process_group(
            backend="gloo", timeout=datetime.timedelta(seconds=timeout)
        )
        # Without this, gloo's threads sometimes abort the process at its end.
        atexit.register(_leave_process_group)
    # Without a config, this is mmengine's own choice.
    wrapper = cfg.get("model_wrapper_cfg") or dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    wrapper["device_ids"] = None
    cfg.model_wrapper_cfg = wrapper


def _leave_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
