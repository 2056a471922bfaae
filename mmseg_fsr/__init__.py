"""Progressive Feature Self-Reinforcement as an MMSegmentation plugin."""

from .dependencies import check_stack, without_import_noise
from .version import __version__

check_stack()

with without_import_noise():
    from . import apis, datasets, engine, evaluation, export, models, moved

moved.install()

__all__ = [
    "__version__",
    "apis",
    "datasets",
    "engine",
    "evaluation",
    "export",
    "models",
]
