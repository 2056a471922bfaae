"""Draws scenes, trains on their image labels, and shows scores, pictures, a report."""

import argparse
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmseg_fsr.cli.output_folder import require_own_folder
from mmseg_fsr.report import logged_scores

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/fsr/fsr_vit-t_scenes.py"
SCORES = {
    "student, segmentation": "mIoU",
    "teacher, segmentation": "teacher/mIoU",
    "student, CAM seeds": "cam/mIoU",
    "student, pseudo labels": "pseudo_label/mIoU",
}


def run(*command: str) -> None:
    """Prints a command and runs it in the project's folder."""
    print(f"\n$ python {shlex.join(command)}", flush=True)
    result = subprocess.run([sys.executable, *command], cwd=ROOT)
    if result.returncode:
        sys.exit(f"demo: this step failed with exit code {result.returncode}")


def main() -> None:
    """Runs the steps of the demo one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--work-dir",
        type=Path,
        default=Path("work_dirs/demo"),
        help="folder for logs and results, relative to the project (default: "
        "%(default)s)",
    )
    work_dir = parser.parse_args().work_dir
    pictures = work_dir / "pictures"
    # The demo's training leaves its config.
    if not (ROOT / work_dir / Path(CONFIG).name).exists():
        try:
            require_own_folder("--work-dir", ROOT / pictures, "tools/demo.py", False)
        except OSError as error:
            sys.exit(f"demo: {error}")
    # By default the signal would end this program and leave the running step.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("demo: terminated"))

    run("tools/dataset_converters/scenes.py", "data/scenes")
    run("tools/train.py", CONFIG, "--work-dir", str(work_dir))
    last = (ROOT / work_dir / "last_checkpoint").read_text().strip()
    run("tools/analysis/draw_panels.py", CONFIG, last, str(pictures), "--overwrite")
    run("tools/report.py", str(work_dir))

    _, scores = logged_scores(ROOT / work_dir)
    print("\nmIoU on the 200 validation scenes, trained on image labels only")
    for title, name in SCORES.items():
        print(f"  {title:<24}{scores[name]:6.2f}")
    print(f"\nPictures: {(ROOT / pictures).resolve()}")
    print(f"Report:   {(ROOT / work_dir / 'report.html').resolve()}")


if __name__ == "__main__":
    main()
