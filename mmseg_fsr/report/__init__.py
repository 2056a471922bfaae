"""A page about a training run: curves, scores by class, predicted images."""

from .charts import distillation_chart, loss_chart, score_chart, share_chart
from .gallery import (
    WorstImages,
    cam_uri,
    gallery_data,
    gallery_note,
    hex_color,
    label_uri,
    photo_uri,
)
from .own_labels import OwnLabels, label_table
from .page import is_report, render_page
from .predictions import predict
from .run_files import (
    commands,
    describe_environment,
    describe_run,
    find_checkpoint,
    find_config,
    find_runs,
    logged_scores,
    read_environment,
    run_date,
)
from .score_tables import class_table, score_table, score_tiles
from .training_log import (
    distillation_curves,
    join_runs,
    last_scores,
    loss_curves,
    score_curves,
    share_curves,
)

__all__ = [
    "OwnLabels",
    "WorstImages",
    "cam_uri",
    "class_table",
    "commands",
    "describe_environment",
    "describe_run",
    "distillation_chart",
    "distillation_curves",
    "find_checkpoint",
    "find_config",
    "find_runs",
    "gallery_data",
    "gallery_note",
    "hex_color",
    "is_report",
    "join_runs",
    "label_table",
    "label_uri",
    "last_scores",
    "logged_scores",
    "loss_chart",
    "loss_curves",
    "photo_uri",
    "predict",
    "read_environment",
    "render_page",
    "run_date",
    "score_chart",
    "score_curves",
    "score_table",
    "score_tiles",
    "share_chart",
    "share_curves",
]
