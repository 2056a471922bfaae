import pytest

from mmseg_fsr.utils import class_names

CLASSES = ("background", "cat", "dog")


@pytest.fixture
def logged(monkeypatch):
    lines = []
    monkeypatch.setattr(class_names, "print_log", lambda text, *_: lines.append(text))
    return lines


def compare(ours, theirs):
    class_names.compare_classes(ours, theirs, "the data", "the checkpoint")


def test_same_classes_pass(logged):
    compare(CLASSES, list(CLASSES))
    compare(CLASSES, ("Background", "Cat", "dog"))
    assert not logged


@pytest.mark.parametrize(
    "theirs",
    [("background", "dog", "cat"), ("background", "dog", "fox"), ("cat", "fox", "dog")],
)
def test_a_class_at_another_place_is_refused(theirs):
    with pytest.raises(ValueError, match=r"in the data, but .* in the check") as error:
        compare(CLASSES, theirs)
    assert str(error.value).endswith(f" of the data set to {theirs}")


def test_other_numbers_of_classes_are_refused():
    with pytest.raises(ValueError, match="the data has 3 classes, the checkpoint 2, "):
        compare(CLASSES, CLASSES[:2])


def test_a_renamed_class_is_warned_of(logged):
    compare(CLASSES, ("background", "cat", "hound"))
    (line,) = logged
    assert "class 2 is 'dog' in the data, but 'hound' in the checkpoint" in line
