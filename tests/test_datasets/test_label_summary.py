import doctest

import numpy as np

from mmseg_fsr.datasets import label_summary
from mmseg_fsr.datasets.label_row import LabelRow
from mmseg_fsr.datasets.label_summary import label_array, summarize_labels


def test_rows_of_any_kind_become_an_array():
    rows = {"a": ["cat"], "b": LabelRow(["dog"], ["ant"]), "c": LabelRow([])}
    labels, classes = label_array(rows)
    assert classes == ["ant", "cat", "dog"]
    assert labels.tolist() == [[0, 1, 0], [-1, 0, 1], [0, 0, 0]]
    assert label_array({"a": [3, 1], "b": []})[1] == ["1", "3"]
    # Ids by number, of texts, too, and before names.
    assert label_array({"a": ["10", "9"], "b": ["9"]})[1] == ["9", "10"]
    assert label_array({"a": ["cat", 20], "b": [3]})[1] == ["3", "20", "cat"]


def test_the_example_is_what_is_said():
    failed, attempted = doctest.testmod(label_summary, extraglobs=dict(np=np))
    assert (failed, attempted > 0) == (0, True)


def test_counts_against_a_loop():
    labels = np.random.default_rng(0).integers(-1, 2, (40, 5))
    labels[:9] = 0
    classes = ["a", "b", "a class of a long name", "d", "e"]
    lines = summarize_labels("x", labels, classes).splitlines()
    assert len(lines) == 7
    for name, column, line in zip(classes, labels.T.tolist(), lines[1:], strict=False):
        expected = f"{column.count(1)}, {column.count(-1)} unknown"
        assert line.removeprefix(f"  {name}").strip() == expected.strip()
    none = sum(not any(row) for row in labels.tolist())
    assert lines[-1].split() == ["no", "class", str(none)]
    # Numbers stand below each other.
    assert len({len(line.split(",")[0]) for line in lines[1:]}) == 1
