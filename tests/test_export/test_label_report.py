import numpy as np
import pytest

from mmseg_fsr.datasets.mask_file import read_mask, write_mask
from mmseg_fsr.export.label_report import class_lookup, report_labels, report_table

CLASSES = ("background", "cat", "dog", "cow")
# Of a data set with more classes.
IDS = [0, 8, 12, 10]
PALETTE = [[i, i, i] for i in range(13)]


@pytest.fixture
def files(tmp_path):
    """Label maps and masks of three images; the third has no mask."""
    random = np.random.default_rng(0)
    label_maps, masks = {}, {}
    for name in "abc":
        for group, choices in (
            (label_maps, [0, 8, 12, 255]),
            (masks, [0, 8, 12, 15, 255]),
        ):
            path = tmp_path / f"{name}_{len(choices)}.png"
            write_mask(path, random.choice(choices, (7, 9)), PALETTE)
            group[name] = path
    label = np.zeros((7, 9), int)
    label[0, 0] = 8
    write_mask(label_maps["c"], label, PALETTE)
    masks["c"].unlink()
    del masks["c"]
    return label_maps, masks


def pixels_of(paths):
    return np.stack([read_mask(path) for path in paths.values()])


def test_ids_of_no_class_do_not_count():
    lookup = class_lookup(IDS)
    assert lookup[[0, 8, 12, 10]].tolist() == [0, 1, 2, 3]
    assert lookup[[1, 15, 254, 255]].tolist() == [255] * 4


def test_counts_against_the_pixels(files):
    label_maps, _ = files
    report = report_labels(label_maps, CLASSES, IDS, {})
    pixels = pixels_of(label_maps)
    assert report["labels"] == 3
    assert report["pixels"] == 3 * 63
    assert report["undecided"] == pytest.approx((pixels == 255).mean())
    for name, number in zip(CLASSES, IDS, strict=True):
        found = pixels == number
        assert report["classes"][name] == dict(
            images=found.any((1, 2)).sum(), pixels=found.sum()
        )
    assert report["classes"]["cat"]["images"] == 3
    assert report["classes"]["dog"]["images"] == 2
    assert "scores" not in report


def test_scores_what_has_a_mask_with_undecided_as_background(files):
    label_maps, masks = files
    scores = report_labels(label_maps, CLASSES, IDS, masks)["scores"]
    assert scores["images"] == 2
    label, mask = pixels_of(label_maps)[:2], pixels_of(masks)
    label[label == 255] = 0
    counted = np.isin(mask, IDS)
    ious = {}
    for name, number in zip(CLASSES, IDS, strict=True):
        mine, true = (label == number) & counted, (mask == number) & counted
        union = (mine | true).sum()
        ious[name] = 100 * (mine & true).sum() / union if union else None
    assert ious["cow"] is None
    assert scores["IoU"]["cow"] is None
    for name in CLASSES[:3]:
        assert scores["IoU"][name] == pytest.approx(ious[name], abs=0.006)
    mean = np.mean([ious[name] for name in CLASSES[:3]])
    assert scores["mIoU"] == pytest.approx(mean, abs=0.006)


def test_masks_without_a_pixel_to_score_give_no_scores(files):
    label_maps, masks = files
    for path in masks.values():
        write_mask(path, np.full((7, 9), 255), PALETTE)
    report = report_labels(label_maps, CLASSES, IDS, masks)
    assert "scores" not in report
    assert "IoU" not in str(report_table(report))


def test_a_mask_of_another_size_is_named(files):
    label_maps, masks = files
    write_mask(masks["b"], np.zeros((9, 7)), PALETTE)
    with pytest.raises(ValueError, match=r"b_5\.png is 7 x 9 pixels, .* 9 x 7"):
        report_labels(label_maps, CLASSES, IDS, masks)


def test_the_table_names_counts_and_shares():
    counts = dict(background=dict(images=2, pixels=150), cat=dict(images=1, pixels=25))
    scores = dict(IoU=dict(background=80.5, cat=None))
    report = dict(pixels=200, undecided=0.125, classes=counts, scores=scores)
    table = report_table(report)
    assert table.field_names == ["", "images", "% of pixels", "IoU"]
    assert table.rows == [
        ["background", 2, "75.00", "80.50"],
        ["cat", 1, "12.50", "-"],
        ["undecided", "", "12.50", ""],
    ]


def test_the_table_has_a_row_for_each_class_and_the_undecided(files):
    label_maps, masks = files
    plain = str(report_table(report_labels(label_maps, CLASSES, IDS, {})))
    scored = str(report_table(report_labels(label_maps, CLASSES, IDS, masks)))
    assert "IoU" not in plain
    assert "IoU" in scored
    for row in (*CLASSES, "undecided"):
        assert f"| {row}" in scored
    assert "nan" not in scored
