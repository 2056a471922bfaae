"""A table of ablations in a folder, with configs that hold next to nothing."""

from pathlib import Path

TABLE = """
title: A title
about: What it is.
config: base.py
seeds: [0, 7]
scores: {prediction: mIoU, seeds: cam/mIoU}
cfg_options: {train_cfg.max_iters: 4, model.size: [8, 8]}
rows:
  - name: with
  - name: without it
    config: other.py
    cfg_options: {model.part: null}
claims:
  - {claim: It helps, better: with, worse: without it, score: prediction}
"""
CONFIG = """
model = dict(size=(4, 4), part=dict(weight=1))
train_cfg = dict(max_iters=100)
train_dataloader = dict(dataset=dict(pipeline=[
    dict(type='Load'), dict(type='Both', steps=[[dict(type='Crop', scale=(9, 7))]])]))
randomness = dict(seed=0)
"""


def write_table(folder: Path, text: str = TABLE) -> Path:
    """Writes the table and its configs."""
    for name in ("base", "other"):
        (folder / f"{name}.py").write_text(CONFIG)
    path = folder / "made_up.yaml"
    path.write_text(text)
    return path


def record(row: str, seed: int, **scores: float) -> dict:
    """The result of a run of the table."""
    options = {"train_cfg.max_iters": 4, "model.size": [8, 8]}
    config = "base.py"
    if row == "without it":
        options["model.part"] = None
        config = "other.py"
    return dict(
        table="made_up",
        row=row,
        seed=seed,
        config=config,
        cfg_options=options,
        commit="abc",
        steps=4,
        size="7 x 9",
        seconds=90,
        machine=dict(processor="abacus", cpus=2),
        scores=scores,
    )
