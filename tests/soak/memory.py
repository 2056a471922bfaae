"""Trains the tests' smallest config for long and measures what grows.

Example:
    python tests/soak/memory.py --steps 2000
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.project_files import TOOLS  # noqa: E402
from tests.support.ranks import run_tool_apart  # noqa: E402
from tests.support.tiny_config import write_tiny_config  # noqa: E402

# Bytes a step: 80 MB over the 80,000 steps of the longest schedule.
FLAT = 1000


def soak(steps: int, warm_up: int, folder: Path) -> dict:
    """Trains, with two processes that load images, and fits lines.

    Args:
        steps: How many steps.
        warm_up: Steps before the growth is measured.
        folder: An empty folder.

    Returns:
        ``growth`` a step of the memory of the process (``main``) and of the larger of
        its loaders (``worker``), of the number of open ``files`` and of the ``logs``,
        in bytes where they are bytes; the same of the second half, ``late_growth``, as
        the allocator takes a while; and the values ``at_end``.
    """
    base = write_tiny_config(folder)
    log = folder / "resources"
    notes = dict(type="ResourceLog", path=str(log), interval=max(1, steps // 100))
    config = folder / "long.py"
    config.write_text(
        f"_base_ = {str(base)!r}\n"
        "custom_imports = dict(\n"
        "    imports=[*_base_.custom_imports.imports, 'tests.support.run_watch'])\n"
        f"train_cfg = dict(max_iters={steps}, val_interval={max(1, steps // 10)})\n"
        "train_dataloader = dict(num_workers=2, persistent_workers=True)\n"
        f"default_hooks = dict(notes={notes!r}, logger=dict(interval=50),\n"
        f"    checkpoint=dict(interval={max(1, steps // 20)}, max_keep_ckpts=2))\n"
    )
    run_tool_apart(TOOLS / "train.py", config, "--work-dir", folder / "work")
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return dict(
        growth=slopes([row for row in rows if row["step"] > warm_up]),
        late_growth=slopes([row for row in rows if row["step"] > steps / 2]),
        at_end=rows[-1],
    )


def slopes(rows: Sequence[dict]) -> dict[str, float]:
    """Growth a step of each value but the step, by a line through all of them."""
    at = [row["step"] for row in rows]
    return {
        name: float(np.polyfit(at, [row[name] for row in rows], 1)[0])
        for name in rows[0]
        if name != "step"
    }


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
    late = found["late_growth"]
    sys.exit(max(late["main"], late["worker"]) > FLAT or late["files"] > 1e-3)


if __name__ == "__main__":
    main()
