"""Several processes on a machine without an accelerator."""

import atexit
import datetime

import torch.distributed
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import is_distributed


def prepare_cpu_distributed(cfg: Config) -> bool:
    """Lets a runner of ``launcher='pytorch'`` work without an accelerator.

    MMEngine's own launcher selects a CUDA device and gives it to the model's wrapper;
    both fail on a CPU. So the process group is set up here, with gloo, from the
    environment that ``torchrun`` sets (MMEngine then leaves it as it is), and the
    wrapper is told that there are no device ids. Where there is an accelerator, or
    another launcher, nothing happens.

    Args:
        cfg: The run's config with ``launcher`` set. Changed in place:
            ``model_wrapper_cfg``.

    Returns:
        Whether the run is a distributed one on CPUs.
    """
    if cfg.get("launcher") != "pytorch" or get_device() != "cpu":
        return False
    if not is_distributed():
        timeout = cfg.get("env_cfg", {}).get("dist_cfg", {}).get("timeout", 1800)
        torch.distributed.init_process_group(
            backend="gloo", timeout=datetime.timedelta(seconds=timeout)
        )
        # Left to the interpreter's end, gloo's threads abort the process now and then.
        atexit.register(_leave_process_group)
    wrapper = cfg.get("model_wrapper_cfg") or dict(
        # What MMEngine wraps with when the config says nothing.
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )
    wrapper["device_ids"] = None
    cfg.model_wrapper_cfg = wrapper
    return True


def _leave_process_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
