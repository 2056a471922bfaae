"""The runner that a config asks for."""

from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.registry import RUNNERS


def build_runner(cfg: Config) -> Runner:
    """Builds the runner of a config's ``runner_type``, else mmengine's."""
    return RUNNERS.build(cfg) if "runner_type" in cfg else Runner.from_cfg(cfg)
