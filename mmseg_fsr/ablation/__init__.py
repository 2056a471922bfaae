"""Tables of ablations: what to run, what came out, and what it says."""

from .claim_verdict import Comparison, compare
from .markdown_page import markdown_page, require_page
from .result_file import ResultFile
from .run import (
    AblationRun,
    drop_unscored_end,
    planned_runs,
    run_queue,
    training_size,
)
from .table import AblationTable, Claim, Row, read_table

__all__ = [
    "AblationRun",
    "AblationTable",
    "Claim",
    "Comparison",
    "ResultFile",
    "Row",
    "compare",
    "drop_unscored_end",
    "markdown_page",
    "planned_runs",
    "read_table",
    "require_page",
    "run_queue",
    "training_size",
]
