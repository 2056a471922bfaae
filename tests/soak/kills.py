"""Kills a run at random moments (SIGKILL), resumes it, and compares how it ends.

The run is that of the tests' smallest config. Each time its folder is looked at before
it goes on: from which checkpoint it must, and how many steps are lost.

Example:
    python tests/soak_kills.py --kills 50
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.support.tiny_config import write_tiny_config  # noqa: E402

INTERVAL, PADDING = 3, 50_000_000
STEPS_A_KILL = 12


def write_config(folder: Path, steps: int) -> Path:
    """The tiny config with so many steps, in a folder that exists."""
    base = write_tiny_config(folder)
    phase = dict(type="RunPhase", path=str(folder / "phase"), padding=PADDING)
    config = folder / "killed.py"
    config.write_text(
        f"_base_ = {str(base)!r}\n"
        "custom_imports = dict(imports=['mmseg_fsr', 'tests.support.run_watch'])\n"
        f"custom_hooks = [*_base_.custom_hooks, {phase!r}]\n"
        f"train_cfg = dict(max_iters={steps}, val_interval=5)\n"
        f"default_hooks = dict(checkpoint=dict(interval={INTERVAL},\n"
        "    max_keep_ckpts=1), cam_visualization=dict(interval=1000))\n"
    )
    return config


def start(config: Path, work_dir: Path) -> subprocess.Popen:
    """Starts or resumes the run, in a process group of its own."""
    with open(config.parent / "output", "a") as output:
        return subprocess.Popen(
            [sys.executable, ROOT / "tools/train.py", config, "--resume",
             "--work-dir", work_dir],
            env=os.environ | dict(PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1"),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip


def finish(config: Path, work_dir: Path) -> dict:
    """Lets the run end; its last checkpoint."""
    import torch

    if start(config, work_dir).wait():
        sys.exit(f"the run failed:\n{(config.parent / 'output').read_text()[-4000:]}")
    path = Path((work_dir / "last_checkpoint").read_text())
    return torch.load(path, weights_only=False)


def kill_at_random(config: Path, work_dir: Path, draw: random.Random) -> tuple:
    """Resumes the run, kills it within two seconds after a step; phase and steps."""
    phase = config.parent / "phase"
    phase.unlink(missing_ok=True)
    process = start(config, work_dir)
    while not phase.exists():
        if process.poll() is not None:
            output = (config.parent / "output").read_text()
            sys.exit(f"the run ended by itself:\n{output[-4000:]}")
        time.sleep(0.01)
    time.sleep(draw.uniform(0, 2))
    if process.poll() is not None:
        sys.exit("the run came to its end: it needs more steps a kill, STEPS_A_KILL")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    name, steps = phase.read_text().split()
    if list(work_dir.glob(".*.pth.*")):
        name = "writing a checkpoint"
    return name, int(steps)


def soak(kills: int, seed: int, folder: Path) -> dict:
    """Kills a run so many times and compares its end with one in one go.

    Args:
        kills: How many times.
        seed: Of the moments.
        folder: An empty folder.

    Returns:
        Kills by what the run was doing, torn checkpoints, the most steps that were
        lost at a time, and whether the two runs ended with equal states.
    """
    from mmengine.runner import find_latest_checkpoint

    from mmseg_fsr.checkpoints.completeness import (
        is_complete,
        latest_complete_checkpoint,
    )
    from tests.support.nested_equal import assert_equal

    config = write_config(folder, steps=STEPS_A_KILL * (kills + 1))
    whole = finish(config, folder / "whole")
    draw, work_dir = random.Random(seed), folder / "killed"
    counts = {"training": 0, "validation": 0, "writing a checkpoint": 0}
    torn, lost = 0, []
    for _ in range(kills):
        name, steps = kill_at_random(config, work_dir, draw)
        counts[name] += 1
        torn += sum(not is_complete(path) for path in work_dir.glob("iter_*.pth"))
        noted = find_latest_checkpoint(str(work_dir))
        chosen = latest_complete_checkpoint(work_dir, "iter_*.pth", noted)
        saved = int(Path(chosen).stem.split("_")[1]) if chosen else 0
        lost.append(steps - saved)
    end = finish(config, work_dir)
    equal = True
    try:
        for key in ("state_dict", "optimizer", "param_schedulers"):
            assert_equal(end[key], whole[key], key)
    except AssertionError as error:
        print(f"the ends differ: {error}", file=sys.stderr)
        equal = False
    return counts | dict(torn=torn, lost=max(lost), equal=equal)


def main() -> None:
    """Kills, and prints a table; ends with 1 where the run suffered."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="seed of the moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(args.kills, args.seed, Path(folder))
    print(json.dumps(found, indent=1))
    sys.exit(found["torn"] > 0 or found["lost"] > INTERVAL or not found["equal"])


if __name__ == "__main__":
    main()
