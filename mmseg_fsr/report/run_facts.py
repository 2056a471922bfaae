"""A run in words: what it was, where it ran, how to run it again."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config

from .run_files import run_date

# Facts of the run rather than of its machine.
_OF_THE_RUN = ("seed", "GPU number", "CUDA available")


def describe_run(
    cfg: Config,
    work_dir: Path,
    checkpoint: Path,
    runs: Sequence[Path],
    steps: int,
    environment: Mapping[str, str],
) -> list[tuple[str, str]]:
    """Rows about the run.

    Args:
        cfg: Its config.
        work_dir: Its work directory.
        checkpoint: The weights that the page predicts with.
        runs: The run's folder and those of runs that resumed it.
        steps: The last step of its logs.
        environment: What :func:`read_environment` found.

    Returns:
        Names and values.
    """
    randomness = cfg.get("randomness", {})
    rows = [
        ("Work directory", work_dir),
        ("Checkpoint", checkpoint.name),
        ("Model", cfg.model.type),
        ("Begun", ", resumed ".join(map(run_date, runs))),
        ("Steps logged", f"{steps:,}"),
        # Where the config has none, the log has the one that was drawn.
        ("Seed", environment.get("seed", randomness.get("seed"))),
        ("Deterministic", randomness.get("deterministic", False)),
        ("Processes", environment.get("GPU number", "unknown")),
    ]
    return [(name, str(value)) for name, value in rows]


def describe_environment(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Rows about the machine that trained.

    Args:
        environment: What :func:`read_environment` found.

    Returns:
        Names and values.
    """
    rows = [item for item in environment.items() if item[0] not in _OF_THE_RUN]
    if environment.get("CUDA available") == "False":
        rows.append(("Device", "CPU"))
    return rows


def commands(
    cfg: Config,
    config: Path,
    work_dir: Path,
    environment: Mapping[str, str],
    begun: Config,
) -> str:
    """Command lines that train and report anew, beside the old run.

    Args:
        cfg: The run's config.
        config: Its file.
        work_dir: The run's work directory.
        environment: What :func:`read_environment` found.
        begun: The config that it began with, before it was resumed; else the same.

    Returns:
        Two lines, quoted for a shell.
    """
    # "." and ".." are no names to build on.
    named = work_dir.resolve() if work_dir.name in ("", "..") else work_dir
    again = str(named.with_name(f"{named.name}_again"))
    if cfg.get("launcher", "none") == "none":
        train = ["python", "tools/train.py", str(config)]
    else:
        processes = environment.get("GPU number", "1")
        train = ["tools/dist_train.sh", str(config), processes]
    train += ["--work-dir", again]
    if cfg.get("resume") and not begun.get("resume"):
        load_from = begun.get("load_from")
        train += ["--cfg-options", "resume=False", f"load_from={load_from}"]
    report = ["python", "tools/report.py", again]
    return "\n".join(map(shlex.join, (train, report)))
