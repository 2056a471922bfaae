import numpy as np
import pytest

from mmseg_fsr.utils import pixel_range
from mmseg_fsr.utils.pixel_range import (
    check_pixel_range,
    compare_ranges,
    scale_to_8bit,
)

VALUES = np.arange(101, dtype=np.uint16).reshape(1, 101) * 40


@pytest.mark.parametrize(
    ("pixel_range", "expected"),
    [
        ((0, 4000), [0, 64, 128, 191, 255]),
        ((1000, 3000), [0, 0, 128, 255, 255]),
        (["25%", "75%"], [0, 0, 128, 255, 255]),
        (("0%", "100%"), [0, 64, 128, 191, 255]),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, np.float64])
def test_a_range_becomes_black_to_white(pixel_range, expected, dtype):
    scaled = scale_to_8bit(VALUES.astype(dtype), pixel_range, "it")
    assert (scaled.dtype, scaled.shape) == (np.uint8, VALUES.shape)
    assert scaled[0, ::25].tolist() == expected


def test_what_is_no_number_is_black_and_does_not_count():
    values = np.array([np.nan, -np.inf, 0, 1, 2, np.inf], np.float32)
    scaled = scale_to_8bit(values, ("0%", "100%"), "it")
    assert scaled.tolist() == [0, 0, 0, 128, 255, 255]
    with pytest.raises(ValueError, match="it has no pixel whose value is a number"):
        scale_to_8bit(values[:1], (0, 1), "it")


def test_a_picture_of_one_value_is_black():
    values = np.full((2, 2), 7, np.uint16)
    assert not scale_to_8bit(values, ("1%", "99%"), "it").any()


def test_without_a_range_the_error_says_how_to_give_one():
    message = r"^it has uint16 pixels from 0 to 4000, not 8 bits: .* pixel_range="
    with pytest.raises(ValueError, match=message):
        scale_to_8bit(VALUES, None, "it")


@pytest.mark.parametrize(
    "pixel_range",
    [
        5, "1%", "12", (), (0,), (0, 1, 2), (1, 1), (2, 1), (0, np.nan), (0, np.inf),
        ("1", "99"), ("1%", "99"), ("99%", "1%"), ("0%", "101%"), ("-1%", "5%"),
        (0, "99%"), ("%", "99%"), (False, True), (None, 1), ([0], [1]), {},
    ],
)  # fmt: skip
def test_what_is_no_range_is_named(pixel_range):
    with pytest.raises(ValueError, match=r"^pixel_range=.*such as \(0, 4095\), or"):
        check_pixel_range(pixel_range)


@pytest.mark.parametrize(
    ("ours", "theirs", "count"),
    [
        ((0, 255), [0, 4095], 1),
        (("1%", "99%"), (0, 9), 1),
        ([0, 9], (0, 9), 0),
        (None, (0, 9), 0),
        ((0, 9), None, 0),
    ],
)
def test_two_ranges_are_warned_of(monkeypatch, ours, theirs, count):
    said = []
    monkeypatch.setattr(pixel_range, "print_log", lambda text, *_: said.append(text))
    compare_ranges(ours, theirs, "one", "the other")
    assert len(said) == count
    if said:
        assert f"is {ours} in one, but {tuple(theirs)} in the other" in said[0]


def test_pictures_of_8_bits_need_none():
    check_pixel_range(None)
