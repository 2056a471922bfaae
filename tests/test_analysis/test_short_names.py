import pytest

from mmseg_fsr.analysis import short_names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["work/a/iter_9.pth"], ["iter_9"]),
        (["work/iter_4.pth", "work/iter_9.pth"], ["iter_4", "iter_9"]),
        (["work/a/iter_9.pth", "work/b/iter_9.pth"], ["a/iter_9", "b/iter_9"]),
        (["iter_9.pth", "b/iter_9.pth"], ["iter_9", "b/iter_9"]),
        (["a/iter_9.pth", "b/a/iter_9.pth"], ["a/iter_9", "b/a/iter_9"]),
        (["a/last.pth", "a/last.pt"], ["last.pth", "last.pt"]),
    ],
)
def test_as_short_as_they_may_be(paths, names):
    assert short_names(paths) == names


@pytest.mark.parametrize("again", ["b.pth", "./b.pth"])
def test_the_same_file_twice(again):
    with pytest.raises(ValueError, match=r"b\.pth is given twice"):
        short_names(["a.pth", "b.pth", again])
