"""Configs and tools of the project, which are no part of the package."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from mmengine.config import Config

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "fsr"
TOOLS = ROOT / "tools"


def load_config(name: str) -> Config:
    """A config of ``configs/fsr`` by its name, such as ``'fsr_vit-b_voc'``."""
    return Config.fromfile(CONFIGS / f"{name}.py")


def load_tool(name: str) -> ModuleType:
    """A script of ``tools`` as a module, such as ``'model_converters/official'``."""
    path = TOOLS / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"tool_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    # Where its worker processes look for its functions.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
