import json
from functools import partial

from mmseg_fsr.datasets.preparation.split_report import SplitFiles, report_splits

CLASSES = ("background", "cat", "dog")


def path_of(folder, name):
    return folder / f"{name}.x"


def test_counts_classes_and_missing_files(tmp_path):
    (tmp_path / "labels.json").write_text(
        json.dumps(dict(a=["cat"], b=["cat", "dog"], c=[]))
    )
    (tmp_path / "train.txt").write_text("a\nb\n")
    (tmp_path / "val.txt").write_text("c\n")
    (tmp_path / "other.txt").write_text("z\n")
    for name in "abc":
        path_of(tmp_path, name).touch()
    files = dict(image=partial(path_of, tmp_path))
    nowhere = dict(mask=partial(path_of, tmp_path / "nowhere"), **files)
    splits = dict(
        train=SplitFiles(tmp_path / "train.txt", files, 5),
        val=SplitFiles(tmp_path / "val.txt", nowhere, 6),
        other=SplitFiles(tmp_path / "other.txt", {}, 7),
        test=SplitFiles(tmp_path / "test.txt", files, 8),
    )
    table, problems = report_splits(splits, tmp_path / "labels.json", CLASSES)
    assert table.field_names == ["", "train", "val"]
    assert table.rows == [
        ["images", 2, 1],
        ["as published", 5, 6],
        ["cat", 2, 0],
        ["dog", 1, 0],
    ]
    missing, unlabelled, absent = problems
    assert missing.startswith("val: 1 of 1 masks are missing, the first ")
    assert missing.endswith("nowhere/c.x")
    assert unlabelled.startswith("other: ")
    assert "'z'" in unlabelled
    assert absent.startswith("test: split file")
