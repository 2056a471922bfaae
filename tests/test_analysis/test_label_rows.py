import numpy as np
import pytest

from mmseg_fsr.analysis.doubtful_labels import DoubtfulLabel
from mmseg_fsr.analysis.label_rows import COLUMNS, label_rows, note, summary

DOUBTFUL = [DoubtfulLabel(1, 0, True, 0.123456), DoubtfulLabel(0, 1, False, 0.25)]


def rows():
    return label_rows(DOUBTFUL, ["a", "sub/b"], ["cat", "dog"], ["no", "yes"])


def test_rows_name_image_class_and_kind():
    first, second = ([row[column] for column in COLUMNS] for row in rows())
    assert first == [1, "sub/b", "cat", 1, 0.1235, "likely wrong", "yes"]
    assert second == [2, "a", "dog", 0, 0.25, "likely missing", "no"]


def test_the_summary_has_counts_and_how_well_the_classes_are_known():
    labels = np.array([[0, 0, 0], [1, -1, 0], [0, 1, -1], [1, 0, 0]])
    probabilities = np.array(
        [[0.9, 0.2, 0.5], [0.8, 0.9, 0.5], [0.1, 0.7, 0.5], [0.7, 0.3, 0.5]]
    )
    title, cat, dog, cow, about = summary(
        rows(), labels, probabilities, ["cat", "dog", "cow"]
    ).splitlines()
    assert title.split() == [
        *["class", "labelled", "AP"],
        *["likely", "wrong", "likely", "missing"],
    ]
    # Of the sorted images the second and the third have it: (1 / 2 + 2 / 3) / 2.
    assert cat.split() == ["cat", "2", "58.3", "1", "0"]
    # The one that nobody knows would come first.
    assert dog.split() == ["dog", "1", "100.0", "0", "1"]
    assert cow.split() == ["cow", "0", "-", "0", "0"]
    assert "AP says" in about


@pytest.mark.parametrize(
    ("in_sample", "said"),
    [
        (["no", "no"], "It was not trained on these images."),
        (["no", "yes"], "trained on 1 of 2 images with these labels"),
        (["no", "unknown"], "Of 1 of 2 images the checkpoints do not tell"),
    ],
)
def test_the_note_says_what_scores_are_worth(in_sample, said):
    assert said in note(in_sample)
