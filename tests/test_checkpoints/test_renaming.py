import pytest

from mmseg_fsr.checkpoints.renaming import backwards, translate

TABLE = (
    ("a.*.b.", "x.*.y."),
    ("a.*.b.*.c", "first.*.*"),
    ("a.", "rest."),
    ("token", "tok.en"),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.12.b.weight", "x.12.y.weight"),
        ("a.c", "rest.c"),
        ("a.1.c", "rest.1.c"),
        ("token", "tok.en"),
        ("tokens", None),
        ("my.token", None),
        ("a", None),
    ],
)
def test_translate(name, expected):
    assert translate(name, TABLE) == expected


def test_numbers_keep_their_order():
    table = (("a.*.b.*.c", "x.*.*"),)
    assert translate("a.3.b.10.c", table) == "x.3.10"
    assert translate("x.3.10", backwards(table)) == "a.3.b.10.c"


def test_dots_are_dots():
    assert translate("axb", (("a.b", "c"),)) is None
