"""A page about a training run: curves, scores by class, predicted images."""

from .charts import loss_chart, score_chart
from .gallery import WorstImages
from .image_scores import ClassScores
from .page import is_report, render_page
from .pictures import cam_uri, hex_color, label_uri, photo_uri
from .run_files import (
    find_checkpoint,
    find_config,
    find_runs,
    read_environment,
    run_date,
)
from .score_tables import score_table, score_tiles
from .training_log import join_runs, last_scores, loss_curves, score_curves

__all__ = [
    "ClassScores",
    "WorstImages",
    "cam_uri",
    "find_checkpoint",
    "find_config",
    "find_runs",
    "hex_color",
    "is_report",
    "join_runs",
    "label_uri",
    "last_scores",
    "loss_chart",
    "loss_curves",
    "photo_uri",
    "read_environment",
    "render_page",
    "run_date",
    "score_chart",
    "score_curves",
    "score_table",
    "score_tiles",
]
