"""Kills a run at random moments (SIGKILL), resumes it, and compares how it ends.

The run is that of the tests' smallest config. Each time its folder is looked at before
it goes on: from which checkpoint it must, and how many steps are lost.

Example:
    python tests/soak/kills.py --kills 50
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from mmengine.runner import find_latest_checkpoint

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from mmseg_fsr.checkpoints.completeness import (  # noqa: E402
    is_complete,
    latest_complete_checkpoint,
)
from tests.support.nested_equal import assert_equal  # noqa: E402
from tests.support.project_files import TOOLS  # noqa: E402
from tests.support.ranks import start_tool  # noqa: E402
from tests.support.runs import read_checkpoint  # noqa: E402
from tests.support.tiny_config import write_tiny_config  # noqa: E402

INTERVAL, PADDING = 3, 50_000_000


def write_config(folder: Path, steps: int) -> Path:
    """The tiny config with so many steps, in a folder that exists."""
    base = write_tiny_config(folder)
    phase = dict(type="RunPhase", path=str(folder / "phase"), padding=PADDING)
    config = folder / "killed.py"
    config.write_text(
        f"_base_ = {str(base)!r}\n"
        "custom_imports = dict(\n"
        "    imports=[*_base_.custom_imports.imports, 'tests.support.run_watch'])\n"
        f"train_cfg = dict(max_iters={steps}, val_interval=5)\n"
        f"default_hooks = dict(phase={phase!r},\n"
        f"    checkpoint=dict(interval={INTERVAL}, max_keep_ckpts=1),\n"
        "    cam_visualization=dict(interval=1000))\n"
    )
    return config


def start(config: Path, work_dir: Path) -> BaseProcess:
    """Starts or resumes the run, in a process group of its own."""
    arguments = (config, "--resume", "--work-dir", work_dir)
    return start_tool(config.parent / "output", TOOLS / "train.py", *arguments)


def finish(config: Path, work_dir: Path) -> dict:
    """Lets the run end; its last checkpoint."""
    process = start(config, work_dir)
    process.join()
    if process.exitcode:
        output = (config.parent / "output").read_text()
        sys.exit(f"the run failed:\n{output[-4000:]}")
    return read_checkpoint(Path((work_dir / "last_checkpoint").read_text()))


def kill_at_random(
    config: Path, work_dir: Path, draw: random.Random, within: float
) -> tuple[str, int]:
    """Resumes the run and kills it.

    Args:
        config: Its config.
        work_dir: Its folder.
        draw: Draws the moment.
        within: Most seconds after the first of its steps.

    Returns:
        What the run was doing, and the number of its last step.
    """
    phase = config.parent / "phase"
    phase.unlink(missing_ok=True)
    process = start(config, work_dir)
    while not phase.exists():
        if process.exitcode is not None:
            output = (config.parent / "output").read_text()
            sys.exit(f"the run ended by itself:\n{output[-4000:]}")
        time.sleep(0.01)
    time.sleep(draw.uniform(0, within))
    if process.exitcode is not None:
        sys.exit("the run came to its end: it needs more steps a kill")
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    name, steps = phase.read_text().split()
    if list(work_dir.glob(".*.pth.*")):
        name = "writing a checkpoint"
    return name, int(steps)


def soak(kills: int, seed: int, folder: Path, steps_a_kill: int = 12) -> dict:
    """Kills a run so many times and compares its end with one in one go.

    Args:
        kills: How many times.
        seed: Of the moments.
        folder: An empty folder.
        steps_a_kill: It is killed within the time of so many steps after the first of
            its steps, and within two seconds. Defaults to 12.

    Returns:
        Kills by what the run was doing, torn checkpoints, the most steps that were
        lost at a time, and whether the two runs ended with equal states.
    """
    steps = steps_a_kill * (kills + 1)
    config = write_config(folder, steps)
    began = time.monotonic()
    whole = finish(config, folder / "whole")
    within = min(2.0, (time.monotonic() - began) * steps_a_kill / steps)
    draw, work_dir = random.Random(seed), folder / "killed"
    counts = {"training": 0, "validation": 0, "writing a checkpoint": 0}
    torn, lost = 0, []
    for _ in range(kills):
        name, step = kill_at_random(config, work_dir, draw, within)
        counts[name] += 1
        torn += sum(not is_complete(path) for path in work_dir.glob("iter_*.pth"))
        noted = find_latest_checkpoint(str(work_dir))
        chosen = latest_complete_checkpoint(work_dir, "iter_*.pth", noted)
        saved = int(Path(chosen).stem.split("_")[1]) if chosen else 0
        lost.append(step - saved)
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
