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
    """Label maps of three images and masks of two."""
    random = np.random.default_rng(0)

    def write(kind, name, pixels):
        path = tmp_path / f"{name}_{kind}.png"
        write_mask(path, pixels, PALETTE)
        return path

    label_maps, masks = {}, {}
    for name in "ab":
        pixels = random.choice([0, 8, 12, 255], (7, 9))
        label_maps[name] = write("label", name, pixels)
        masks[name] = write("mask", name, random.choice([0, 8, 12, 15, 255], (7, 9)))
    label_maps["c"] = write("label", "c", np.eye(7, 9, dtype=int) * 8)
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
    assert report["classes"]["dog"]["images"] == 2
    assert "scores" not in report


def test_scores_what_has_a_mask_with_undecided_as_background(files):
    label_maps, masks = files
    scores = report_labels(label_maps, CLASSES, IDS, masks)["scores"]
    assert scores["images"] == 2
    label, mask = pixels_of(label_maps)[:2], pixels_of(masks)
    label[label == 255] = 0
    counted = np.isin(mask, IDS)
    ious = []
    for number in IDS[:3]:
        mine, true = (label == number) & counted, (mask == number) & counted
        ious.append(100 * (mine & true).sum() / (mine | true).sum())
    assert list(scores["IoU"].values())[:3] == pytest.approx(ious, abs=0.006)
    # Nowhere.
    assert scores["IoU"]["cow"] is None
    assert scores["mIoU"] == pytest.approx(np.mean(ious), abs=0.006)


@pytest.mark.parametrize("ids", [[255], [0, 255]])
def test_masks_without_a_class_to_score_give_no_scores(files, ids):
    label_maps, masks = files
    for path in masks.values():
        write_mask(path, np.resize(ids, (7, 9)), PALETTE)
    assert "scores" not in report_labels(label_maps, CLASSES, IDS, masks)


def test_a_mask_of_another_size_is_named(files):
    label_maps, masks = files
    write_mask(masks["b"], np.zeros((9, 7)), PALETTE)
    with pytest.raises(ValueError, match=r"b_mask\.png is 7 x 9 pixels, .* 9 x 7"):
        report_labels(label_maps, CLASSES, IDS, masks)


@pytest.mark.parametrize("scored", [True, False])
def test_the_table_names_counts_and_shares(scored):
    counts = dict(background=dict(images=2, pixels=150), cat=dict(images=1, pixels=25))
    report = dict(pixels=200, undecided=0.125, classes=counts)
    if scored:
        report["scores"] = dict(IoU=dict(background=80.5, cat=None))
    table = report_table(report)
    columns = 4 if scored else 3
    assert table.field_names == ["", "images", "% of pixels", "IoU"][:columns]
    assert table.rows == [
        ["background", 2, "75.00", "80.50"][:columns],
        ["cat", 1, "12.50", "-"][:columns],
        ["undecided", "", "12.50", ""][:columns],
    ]
