"""What a training left in its work directory, and facts about it."""

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from mmengine.config import Config

from .training_log import join_runs, last_scores, score_curves

_ENVIRONMENT = re.compile(
    r"^    (Python|PyTorch|TorchVision|OpenCV|MMEngine|GPU [\d,]+|CUDA available|seed"
    r"|GPU number): (.+)$"
)
_END_OF_ENVIRONMENT = "Config:"
# Of these, what describes the run and not its machine.
_OF_THE_RUN = ("seed", "GPU number", "CUDA available")


def find_runs(work_dir: Path) -> list[Path]:
    """The timestamped folders of a training and of the runs that resumed it.

    Returns:
        Folders in the work directory that hold ``vis_data/scalars.json``, oldest first.
        A test writes none.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    runs = sorted(path.parents[1] for path in work_dir.glob("*/vis_data/scalars.json"))
    if not runs:
        raise FileNotFoundError(
            f"no log in {work_dir}: expected */vis_data/scalars.json, which training "
            "writes (vis_backends with LocalVisBackend)"
        )
    return runs


def logged_scores(work_dir: Path) -> tuple[int | None, dict[str, float]]:
    """The :func:`~mmseg_fsr.report.last_scores` of the logs in a work directory.

    Raises:
        FileNotFoundError: If there is no log.
        ValueError: If a log is damaged or empty.
    """
    records, _ = join_runs(find_runs(work_dir))
    return last_scores(score_curves(records))


def find_config(work_dir: Path, run: Path) -> Path:
    """The config that training wrote.

    A test in the same work directory overwrites it with its own config. Then only the
    run's folder still has that of the training.

    Args:
        work_dir: The work directory.
        run: Folder of a training in it.

    Returns:
        The ``.py`` file of the work directory that equals ``vis_data/config.py`` of
        the run, else that file itself. If the run has none, the only ``.py`` file of
        the work directory.

    Raises:
        FileNotFoundError: If there is no config, or several and none is the run's.
    """
    dumped = sorted(work_dir.glob("*.py"))
    own = run / "vis_data" / "config.py"
    if own.is_file():
        text = own.read_bytes()
        return next((path for path in dumped if path.read_bytes() == text), own)
    if len(dumped) == 1:
        return dumped[0]
    raise FileNotFoundError(
        f"no config in {work_dir}: expected {own}, or one .py file beside the logs, "
        f"found {len(dumped)}"
    )


def find_checkpoint(work_dir: Path) -> Path:
    """The checkpoint that ``last_checkpoint`` of a work directory names.

    It is found even if the folder was moved.

    Raises:
        FileNotFoundError: If there is none.
    """
    pointer = work_dir / "last_checkpoint"
    if not pointer.is_file():
        raise FileNotFoundError(
            f"{pointer} not found: name the checkpoint with --checkpoint"
        )
    named = Path(pointer.read_text(encoding="utf-8").strip())
    for path in (work_dir / named.name, named):
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"{pointer} names {named}, which is not there: name another with --checkpoint"
    )


def read_environment(run: Path) -> dict[str, str]:
    """Versions, devices and seed of a run, from the head of its log.

    Args:
        run: The run's folder, with ``<name>/<name>.log``.

    Returns:
        Values by mmengine's names, Python's without its build. Empty without a log.
    """
    path = run / f"{run.name}.log"
    found: dict[str, str] = {}
    if not path.is_file():
        return found
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.rstrip().endswith(_END_OF_ENVIRONMENT):
                break
            if match := _ENVIRONMENT.match(line.rstrip()):
                found.setdefault(*match.groups())
    if "Python" in found:
        found["Python"] = found["Python"].split()[0]
    return found


def run_date(run: Path) -> str:
    """When a run began, by the name of its folder, such as ``2026-11-23 18:40``.

    A name that is no time, as mmengine's names are, stays as it is.
    """
    try:
        return f"{datetime.strptime(run.name, '%Y%m%d_%H%M%S'):%Y-%m-%d %H:%M}"
    except ValueError:
        return run.name


def describe_run(
    cfg: Config,
    work_dir: Path,
    checkpoint: Path,
    runs: Sequence[Path],
    steps: int,
    environment: Mapping[str, str],
    supervision: Sequence[str],
) -> list[tuple[str, str]]:
    """Names and values of facts about the run.

    Args:
        cfg: Its config.
        work_dir: Its work directory.
        checkpoint: The weights that the page predicts with.
        runs: The folders of the run and of those that resumed it.
        steps: The last step of its logs.
        environment: What :func:`read_environment` found.
        supervision: Labels and pretrained networks of the training.
    """
    randomness = cfg.get("randomness", {})
    rows = [
        ("Work directory", work_dir),
        ("Checkpoint", checkpoint.name),
        ("Model", cfg.model.type),
        ("Supervision", "; ".join(supervision)),
        ("Begun", ", resumed ".join(map(run_date, runs))),
        ("Steps logged", f"{steps:,}"),
        # If the config has no seed, the log has the one that was drawn.
        ("Seed", environment.get("seed", randomness.get("seed"))),
        ("Deterministic", randomness.get("deterministic", False)),
        ("Processes", environment.get("GPU number", "unknown")),
    ]
    return [(name, str(value)) for name, value in rows]


def describe_environment(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """Names and values of what :func:`read_environment` found about the machine."""
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
    """Shell commands that train and report again, in a folder beside the old one.

    Args:
        cfg: The run's config.
        config: Its file.
        work_dir: The run's work directory.
        environment: What :func:`read_environment` found.
        begun: The config of the first run, before it was resumed; ``cfg`` if it was
            not.
    """
    # "." and ".." cannot be part of a new name.
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
