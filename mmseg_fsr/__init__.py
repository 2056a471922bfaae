"""Progressive Feature Self-Reinforcement as an MMSegmentation plugin."""

from .stack import check_stack, without_import_notes
from .version import __version__

check_stack()

with without_import_notes():
    from . import apis, datasets, engine, evaluation, export, models
    from .utils.runner_checkpoint import read_checkpoints_as_data

read_checkpoints_as_data()

__all__ = [
    "__version__",
    "apis",
    "datasets",
    "engine",
    "evaluation",
    "export",
    "models",
]
