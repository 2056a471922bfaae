import json

from mmseg_fsr.datasets.preparation.split_report import SplitFiles, report_splits


def test_counts_classes_and_missing_files(tmp_path):
    labels = dict(a=["cat"], b=["cat", "dog"], c=[])
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    for split, names in dict(train="a\nb\n", val="c\n", other="z\n").items():
        (tmp_path / f"{split}.txt").write_text(names)
    for name in "abc":
        (tmp_path / f"{name}.jpg").touch()

    def split(name, full_size, **files):
        return SplitFiles(tmp_path / f"{name}.txt", files, full_size)

    def image(name):
        return tmp_path / f"{name}.jpg"

    splits = dict(
        train=split("train", 5, image=image),
        val=split("val", 6, mask=lambda name: tmp_path / "nowhere" / name, image=image),
        other=split("other", 7),
        test=split("test", 8, image=image),
    )
    classes = ("background", "cat", "dog")
    table, problems = report_splits(splits, tmp_path / "labels.json", classes)
    assert table.field_names == ["", "train", "val"]
    assert table.rows == [
        ["images", 2, 1],
        ["as published", 5, 6],
        ["cat", 2, 0],
        ["dog", 1, 0],
    ]
    missing, unlabelled, absent = problems
    first = tmp_path / "nowhere" / "c"
    assert missing == f"val: 1 of 1 masks are missing, the first {first}"
    assert unlabelled.startswith("other: ")
    assert "'z'" in unlabelled
    assert absent.startswith("test: split file")
