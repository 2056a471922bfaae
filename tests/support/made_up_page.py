"""A page without a run: six images, four classes, one of them with a nasty name."""

import numpy as np

from mmseg_fsr.report import (
    cam_uri,
    hex_color,
    label_uri,
    loss_chart,
    photo_uri,
    render_page,
    score_chart,
    score_table,
    score_tiles,
)

NASTY = '<script>document.title = "taken"</script>"\'&amp;'
CLASSES = ["background", "cat", "dog", NASTY]
PALETTE = [[0, 0, 0], [200, 40, 40], [40, 160, 40], [40, 40, 200]]
COLORS = [hex_color(color) for color in PALETTE]
SIZE = (30, 40)
# Name, score and classes of the images, as the tool orders them.
IMAGES = [
    (NASTY, 0.1, [0, 1]),
    ("two", 0.2, [0, 1, 2]),
    ("three", 0.3, [0, 2]),
    ("four" * 20, 0.4, [0, 1, 3]),
    ("five", 0.5, [0, 2]),
    ("six", None, [0]),
]
STEPS = range(10, 90, 10)
CURVES = {
    "loss": lambda step: 2 - step / 100,
    "loss_seg": lambda step: 0.0 if step < 30 else 10.0 / step,
    "loss_energy": lambda step: None if step == 40 else -1e-5,
    "mIoU": lambda step: 40 + step / 10,
    "cam/mIoU": lambda step: 30 + step / 10,
    "cam/best_mIoU": lambda step: 35 + step / 10,
    "teacher/mIoU": lambda step: 38 + step / 10,
}
CONFIG = f"name = {NASTY!r}\n</pre></script>{'y' * 300}"


def image_item(name: str, iou: float | None, classes: list[int]) -> dict:
    """An image in the form that the page's script takes."""
    rng = np.random.default_rng(0)
    label = np.full(SIZE, classes[-1])
    scores = dict(prediction=iou, cams=0.5)
    return dict(
        name=name,
        width=SIZE[1],
        height=SIZE[0],
        photo=photo_uri(rng.integers(0, 256, (*SIZE, 3), np.uint8), 100),
        layers=dict(
            cams=cam_uri(rng.random((3, *SIZE)), PALETTE, 20),
            pseudo_label=label_uri(np.full(SIZE, 255), PALETTE, 100, 0),
            prediction=label_uri(label, PALETTE, 100, 0),
            truth=label_uri(label.T.reshape(SIZE), PALETTE, 100, 0),
        ),
        iou=scores,
        classes=[dict(id=i, iou=scores) for i in classes],
    )


def made_up_page() -> str:
    """The page of these values."""
    curves = {
        name: [(step, value(step)) for step in STEPS] for name, value in CURVES.items()
    }
    losses = {name: curve for name, curve in curves.items() if "loss" in name}
    scores = {name: curve for name, curve in curves.items() if "loss" not in name}
    last = {name: curve[-1][1] for name, curve in scores.items()}
    charts = [loss_chart(losses), score_chart(scores)]
    named = list(zip(CLASSES, COLORS, strict=True))
    keys = ("photo", "cams", "pseudo_label", "prediction", "truth")
    gallery = dict(
        images=[image_item(*image) for image in IMAGES],
        classes=[
            dict(name=name, color=color, background=name == "background")
            for name, color in named
        ],
        layers=[dict(key=key, title=key.title()) for key in keys],
        scoreColumns=[dict(key="prediction", title="Prediction")],
        left="prediction",
        right="truth",
    )
    rows = [
        dict(name=name, color=color, iou=[(i * 7 % 5) / 5, None], images=i)
        for i, (name, color) in enumerate(named)
    ]
    return render_page(
        title=f"run {NASTY}",
        facts=["config", "2026-01-01"],
        last_step=STEPS[-1],
        tiles=score_tiles(last),
        score_table=score_table(last),
        runs=2,
        charts=charts,
        labels=dict(images=0, rows=[]),
        trained_on=False,
        classes=dict(
            columns=["Prediction", "CAM seeds"],
            notes=["A note."],
            mean=[0.5, None],
            rows=rows,
        ),
        predicted=9,
        total=12,
        model="iter_1.pth",
        gallery_note="The 6 worst of 9 predicted images.",
        ignored_color="#e0e0e0",
        run=[("Work directory", NASTY)],
        environment=[],
        page_environment=[("torch", "2")],
        commands="python tools/train.py a_config_with_a_long_name.py " + "x" * 200,
        config=CONFIG,
        config_name="work_dirs/" + "z" * 60 + "/config.py",
        version="0",
        date="2026-01-01 00:00",
        data=dict(charts=charts, gallery=gallery),
    )
