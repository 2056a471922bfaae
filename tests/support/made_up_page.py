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
LAYERS = ("photo", "cams", "pseudo_label", "prediction", "truth")


def image_item(name: str, iou: float | None, classes: list[int]) -> dict:
    """An image in the form that the page's script takes."""
    rng = np.random.default_rng(0)
    label = np.full(SIZE, classes[-1])
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
        iou=dict(prediction=iou, cams=0.5),
        classes=[dict(id=i, iou=dict(prediction=iou, cams=0.5)) for i in classes],
    )


def page_values(steps: int = 8, images: int = len(IMAGES)) -> dict:
    """Values for ``render_page``; ``steps`` trained and validated, ``images`` shown."""
    at = range(10, 10 * steps + 1, 10)
    losses = {
        "loss": [(step, 2 - step / 100) for step in at],
        "loss_seg": [(step, 0.0 if step < 30 else 10.0 / step) for step in at],
        "loss_energy": [(step, None if step == 40 else -1e-5) for step in at],
    }
    scores = {
        name: [(step, base + step / 10) for step in at]
        for name, base in (
            ("mIoU", 40.0),
            ("cam/mIoU", 30.0),
            ("cam/best_mIoU", 35.0),
            ("teacher/mIoU", 38.0),
        )
    }
    last = {name: curve[-1][1] for name, curve in scores.items()}
    charts = [loss_chart(losses), score_chart(scores)]
    return dict(
        title=f"run {NASTY}",
        facts=["config", "2026-01-01"],
        last_step=10 * steps,
        tiles=score_tiles(last),
        score_table=score_table(last),
        runs=2,
        charts=charts,
        classes=dict(
            columns=["Prediction", "CAM seeds"],
            notes=["A note."],
            mean=[0.5, None],
            rows=[
                dict(name=name, color=COLORS[i], iou=[(i * 7 % 5) / 5, None], images=i)
                for i, name in enumerate(CLASSES)
            ],
        ),
        predicted=9,
        total=12,
        model="iter_1.pth",
        gallery_note=f"The {images} worst of 9 predicted images.",
        ignored_color="#e0e0e0",
        run=[("Work directory", NASTY)],
        environment=[],
        page_environment=[("torch", "2")],
        commands="python tools/train.py a_config_with_a_long_name.py " + "x" * 200,
        config=f"name = {NASTY!r}\n</pre></script>{'y' * 300}",
        config_name="work_dirs/" + "z" * 60 + "/config.py",
        version="0",
        date="2026-01-01 00:00",
        data=dict(
            charts=charts,
            gallery=dict(
                images=[image_item(*image) for image in IMAGES[:images]],
                classes=[
                    dict(name=name, color=color, background=name == "background")
                    for name, color in zip(CLASSES, COLORS, strict=True)
                ],
                layers=[dict(key=key, title=key.title()) for key in LAYERS],
                scoreColumns=[dict(key="prediction", title="Prediction")],
                left="prediction",
                right="truth",
            ),
        ),
    )


def made_up_page(**changes) -> str:
    """The page of these values."""
    return render_page(**page_values(**changes))
