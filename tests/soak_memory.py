"""Trains the tests' smallest config for long and measures what grows.

Example:
    python tests/soak_memory.py --steps 2000
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.tiny_config import write_tiny_config  # noqa: E402

# Bytes a step: 160 MB over the 80,000 steps of the longest schedule.
FLAT = 2000


def soak(steps: int, warm_up: int, folder: Path) -> dict:
    """Trains, with two processes that load images, and fits lines.

    Args:
        steps: How many steps.
        warm_up: Steps before the growth is measured.
        folder: An empty folder.

    Returns:
        Growth a step of the memory of the process (``main``) and of the larger of
        its loaders (``worker``), of the number of open ``files`` and of the ``logs``,
        in bytes where they are bytes; ``main_at_end`` and ``worker_at_end`` in bytes.
    """
    base = write_tiny_config(folder)
    log = folder / "resources"
    notes = dict(type="ResourceLog", path=str(log), interval=max(1, steps // 100))
    config = folder / "long.py"
    config.write_text(
        f"_base_ = {str(base)!r}\n"
        "custom_imports = dict(imports=['mmseg_fsr', 'tests.run_watch'])\n"
        f"custom_hooks = [*_base_.custom_hooks, {notes!r}]\n"
        f"train_cfg = dict(max_iters={steps}, val_interval={max(1, steps // 10)})\n"
        "train_dataloader = dict(num_workers=2, persistent_workers=True)\n"
        "default_hooks = dict(logger=dict(interval=50), checkpoint=dict(\n"
        f"    interval={max(1, steps // 20)}, max_keep_ckpts=2))\n"
    )
    subprocess.run(
        [sys.executable, ROOT / "tools/train.py", config, "--work-dir", folder / "w"],
        env=os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    measured = [row for row in rows if row["step"] > warm_up]
    at = [row["step"] for row in measured]
    growth = {
        name: float(np.polyfit(at, [row[name] for row in measured], 1)[0])
        for name in ("main", "worker", "files", "logs")
    }
    last = measured[-1]
    return growth | dict(main_at_end=last["main"], worker_at_end=last["worker"])


def main() -> None:
    """Trains, and prints the figures; ends with 1 where memory or files grow."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--warm-up", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(args.steps, args.warm_up, Path(folder))
    print(json.dumps(found, indent=1))
    sys.exit(max(found["main"], found["worker"]) > FLAT or found["files"] > 1e-3)


if __name__ == "__main__":
    main()
