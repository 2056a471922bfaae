"""Images that cannot be read, left out of training and counted."""

import copy
import pickle
import re

import numpy as np
import pytest
from mmengine.dataset import pseudo_collate
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import MMLogger
from PIL import Image
from torch.utils.data import DataLoader

from mmseg_fsr.datasets import ImageLabelDataset
from mmseg_fsr.datasets.bad_images import BadImages
from tests.support.runs import own_globals

from .test_image_label import LOAD, MASKS, build
from .test_pixel_limit import huge_png

HALF = dict(on_bad_image="skip", max_bad_share=0.5)
# Of the images a, b and c.
HEIGHTS = (40, 43, 46)


class LastInstead(ImageLabelDataset):
    """Draws image c in place of a bad one."""

    def _rand_another(self):
        return len(self) - 1


class Turns:
    """A sampler with one order after the other, for the workers to take turns."""

    def __init__(self, *orders):
        self.orders = orders
        self.epoch = -1

    def __len__(self):
        return len(self.orders[0])

    def __iter__(self):
        self.epoch += 1
        return iter(self.orders[self.epoch % len(self.orders)])


def epochs(dataset, workers, *orders, **settings):
    """The heights of the images of each epoch, in batches of 1 by turns of workers."""
    loader = DataLoader(
        dataset,
        sampler=Turns(*orders),
        num_workers=workers,
        collate_fn=pseudo_collate,
        **settings,
    )
    return [[len(batch["img"][0]) for batch in loader] for _ in orders]


@pytest.fixture
def log(tmp_path):
    """The file of the log, without the filter that drops what was said before."""
    path = tmp_path / "log.txt"
    with own_globals():
        logger = MMLogger.get_instance("bad_images", log_file=str(path))
        for handler in logger.handlers:
            handler.filters.clear()
        yield path


def warnings_in(log):
    return [line for line in log.read_text().splitlines() if "WARNING" in line]


def missing(path):
    path.unlink()


def half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def half_progressive(path):
    Image.open(path).convert("RGB").save(path, progressive=True)
    half(path)


def half_png(path):
    Image.open(path).convert("RGB").save(path, format="PNG")
    half(path)


def empty(path):
    path.write_bytes(b"")


def no_image(path):
    path.write_bytes(b"no image at all")


def folder(path):
    path.unlink()
    path.mkdir()


def too_large(path):
    path.write_bytes(huge_png(50_000))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (missing, "does not exist"),
        (half, "cannot be decoded .*truncated"),
        (half_progressive, "cannot be decoded .*truncated"),
        (half_png, "cannot be decoded"),
        (empty, "cannot be decoded"),
        (no_image, "cannot be decoded"),
        (folder, "cannot be decoded .*directory"),
        (too_large, "has too many pixels"),
    ],
)
def test_another_image_is_drawn_for_a_bad_one(voc_root, log, spoil, reason):
    path = voc_root / "JPEGImages" / "b.jpg"
    spoil(path)
    with pytest.raises((OSError, ValueError), match=rf"image {path} {reason}"):
        build(voc_root)[1]
    dataset = build(voc_root, **HALF)
    assert {len(dataset[1]["img"]) for _ in range(20)} == {HEIGHTS[0], HEIGHTS[2]}
    assert [len(dataset[index]["img"]) for index in (0, 2)] == [HEIGHTS[0], HEIGHTS[2]]
    (line,) = warnings_in(log)
    assert re.search(f"bad image left out: image {path} {reason}", line)
    assert dataset.bad_images.indices() == [1]


def test_negative_index_is_the_same_image(voc_root, log):
    missing(voc_root / "JPEGImages" / "c.jpg")
    dataset = build(voc_root, **HALF)
    assert len(dataset[-1]["img"]) in HEIGHTS[:2]
    assert len(dataset[2]["img"]) in HEIGHTS[:2]
    assert dataset.bad_images.indices() == [2]
    assert len(warnings_in(log)) == 1


def test_replacements_are_drawn_from_numpys_global_numbers(voc_root, log):
    missing(voc_root / "JPEGImages" / "b.jpg")
    dataset = build(voc_root, **HALF)

    def draw(seed):
        np.random.seed(seed)  # noqa: NPY002
        return [len(dataset[1]["img"]) for _ in range(10)]

    assert draw(1) == draw(1) != draw(2)


# --- readers


@register_backend("half", force=True)
class HalfOfB(LocalBackend):
    """A disk that returns half of the file b.jpg."""

    def get(self, filepath):
        content = super().get(filepath)
        return content[: len(content) // 2] if self.spoils(filepath) else content

    def spoils(self, filepath):
        return str(filepath).endswith("b.jpg")


@register_backend("half-at-first", force=True)
class HalfOfBAtFirst(HalfOfB):
    """A disk that returns half of b.jpg when it is read for the first time."""

    reads = 0

    def spoils(self, filepath):
        if super().spoils(filepath):
            HalfOfBAtFirst.reads += 1
            return self.reads == 1
        return False


def read_by(backend):
    backend_args = dict(backend=backend)
    load = dict(LOAD[0], backend_args=backend_args)
    return dict(backend_args=backend_args, pipeline=[load])


HALF_READ = r"b\.jpg cannot be decoded .*truncated"
READ_AGAIN = r"b\.jpg could not be read .*truncated.*, but could when tried again"


@pytest.mark.parametrize(
    ("backend", "error", "message"),
    [("half", ValueError, HALF_READ), ("half-at-first", OSError, READ_AGAIN)],
)
def test_disk_that_returns_half_an_image(
    voc_root, log, monkeypatch, backend, error, message
):
    monkeypatch.setattr(HalfOfBAtFirst, "reads", 0)
    with pytest.raises(error, match=message):
        build(voc_root, **read_by(backend))[1]
    monkeypatch.setattr(HalfOfBAtFirst, "reads", 0)
    dataset = build(voc_root, type=LastInstead, **read_by(backend), **HALF)
    assert [len(dataset[index]["img"]) for index in (0, 1)] == [HEIGHTS[0], HEIGHTS[2]]
    (line,) = warnings_in(log)
    assert re.search(f"image .*{message}", line)
    assert dataset.bad_images.indices() == [1]


# --- only faults of an image


def key_error(results):
    raise KeyError("of my own")


def os_error(results):
    raise OSError("of my own")


@pytest.mark.parametrize(
    ("pipeline", "error", "message"),
    [
        ([*LOAD, key_error], KeyError, "of my own"),
        ([*LOAD, os_error], OSError, "of my own"),
        (
            [dict(type="LoadImageFromFile", imdecode_backend="pilow")],
            ValueError,
            "backend: pilow is not supported",
        ),
    ],
)
@pytest.mark.parametrize("on_bad_image", ["raise", "skip"])
def test_other_errors_stay_as_they_are(
    voc_root, log, pipeline, error, message, on_bad_image
):
    dataset = build(
        voc_root, pipeline=pipeline, on_bad_image=on_bad_image, max_bad_share=1
    )
    with pytest.raises(error, match=message) as caught:
        dataset[0]
    assert "image" not in str(caught.value)
    assert not warnings_in(log)
    if on_bad_image == "skip":
        assert dataset.bad_images.indices() == []


@pytest.mark.parametrize("spoil", [missing, no_image, too_large])
def test_bad_masks_are_not_skipped(voc_root, spoil):
    path = voc_root / "SegmentationClass" / "b.png"
    spoil(path)
    settings = {**MASKS, "test_mode": False}
    with pytest.raises((OSError, ValueError), match=f"mask {path} "):
        build(voc_root, **settings, **HALF)[1]


# --- across workers


@pytest.mark.parametrize(
    ("workers", "settings"),
    [(0, {}), (2, {}), (2, dict(persistent_workers=True))],
)
def test_each_name_is_logged_once(voc_root, log, workers, settings):
    for name in "ab":
        half(voc_root / "JPEGImages" / f"{name}.jpg")
    dataset = build(
        voc_root, type=LastInstead, on_bad_image="skip", max_bad_share=2 / 3
    )
    # Both workers come upon both.
    orders = [0, 1], [1, 0], [0, 1], [1, 0]
    heights = epochs(dataset, workers, *orders, **settings)
    assert heights == [[HEIGHTS[2]] * 2] * 4
    lines = warnings_in(log)
    assert len(lines) == 2
    for name in "ab":
        assert sum(f"image {voc_root}/JPEGImages/{name}.jpg" in x for x in lines) == 1
    assert dataset.bad_images.indices() == [0, 1]


@pytest.mark.parametrize(
    ("workers", "method"),
    [
        (0, None),
        (1, "fork"),
        (2, "fork"),
        pytest.param(2, "spawn", marks=pytest.mark.slow),
    ],
)
def test_too_many_bad_images_stop_training(voc_root, log, workers, method):
    for name in "ab":
        half(voc_root / "JPEGImages" / f"{name}.jpg")
    dataset = build(voc_root, type=LastInstead, **HALF)
    # Of two workers each comes upon one, which is not yet too much.
    with pytest.raises(RuntimeError) as caught:
        epochs(dataset, workers, [0, 1], multiprocessing_context=method)
    message = str(caught.value)
    assert (
        "2 of 3 images are bad, more than on_bad_image='skip' may leave out with "
        f"max_bad_share=0.5: {voc_root}/JPEGImages/a.jpg, {voc_root}/JPEGImages/b.jpg. "
    ) in message
    assert f"take them out of {voc_root}/ImageSets/Segmentation/train.txt" in message
    assert "raise max_bad_share" in message
    assert dataset.bad_images.indices() == [0, 1]


def test_five_of_many_bad_images_are_named(voc_root, log):
    names = "\n".join([*(f"n{number}" for number in range(8)), "a"])
    (voc_root / "ImageSets/Segmentation/train.txt").write_text(names)
    (voc_root / "labels.txt").write_text(names)
    dataset = build(
        voc_root,
        type=LastInstead,
        label_file="labels.txt",
        on_bad_image="skip",
        max_bad_share=7 / 9,
    )
    for index in range(7):
        assert len(dataset[index]["img"]) == HEIGHTS[0]
    named = r"^8 of 9 .*n0\.jpg.* \S+n4\.jpg and 3 more\. "
    with pytest.raises(RuntimeError, match=named):
        dataset[7]


@pytest.mark.parametrize("share", [0, 0.01, 0.33])
def test_the_share_may_not_be_exceeded_by_one_image(voc_root, log, share):
    missing(voc_root / "JPEGImages" / "a.jpg")
    dataset = build(voc_root, on_bad_image="skip", max_bad_share=share)
    assert len(dataset[1]["img"]) == HEIGHTS[1]
    with pytest.raises(RuntimeError, match=f"1 of 3 .*max_bad_share={share}:"):
        dataset[0]


def test_training_stops_where_no_image_is_left(voc_root, log):
    for name in "abc":
        missing(voc_root / "JPEGImages" / f"{name}.jpg")
    dataset = build(voc_root, on_bad_image="skip", max_bad_share=1)
    with pytest.raises(RuntimeError, match="3 of 3 images are bad"):
        dataset[0]


# --- copies


def pickled(dataset):
    return pickle.loads(pickle.dumps(dataset))


def subset(dataset):
    return dataset.get_subset([1, 2])


def subset_in_place(dataset):
    dataset = copy.deepcopy(dataset)
    dataset.get_subset_([1, 2])
    return dataset


@pytest.mark.parametrize("serialize_data", [True, False])
@pytest.mark.parametrize("lazy_init", [True, False])
@pytest.mark.parametrize(
    ("copied", "before", "after"),
    [
        (copy.deepcopy, [0], [0, 1]),
        (pickled, [0], [0, 1]),
        (subset, [], [0]),
        (subset_in_place, [], [0]),
    ],
)
def test_a_copy_counts_for_itself_across_its_workers(
    voc_root, log, copied, before, after, serialize_data, lazy_init
):
    for name in "ab":
        missing(voc_root / "JPEGImages" / f"{name}.jpg")
    original = build(
        voc_root,
        type=LastInstead,
        on_bad_image="skip",
        max_bad_share=1,
        serialize_data=serialize_data,
        lazy_init=lazy_init,
    )
    original.full_init()
    assert len(original[0]["img"]) == HEIGHTS[2]
    original.full_init()
    other = copied(original)
    assert other.bad_images.indices() == before
    bad = len(other) - 2
    assert epochs(other, 1, [bad]) == [[HEIGHTS[2]]]
    assert other.bad_images.indices() == after
    assert original.bad_images.indices() == [0]


def test_the_share_is_one_of_the_images_in_use(voc_root, log):
    missing(voc_root / "JPEGImages" / "b.jpg")
    settings = dict(indices=[2, 1], on_bad_image="skip")
    assert len(build(voc_root, **settings, max_bad_share=0.5)[1]["img"]) == HEIGHTS[2]
    with pytest.raises(RuntimeError, match=r"^1 of 2 images are bad"):
        build(voc_root, **settings, max_bad_share=0.49)[1]


def test_nothing_is_counted_unless_asked_for(voc_root):
    assert build(voc_root).bad_images is None


def test_an_image_is_new_once():
    bad = BadImages(4)
    added = [bad.add(index) for index in (2, 0, 2, -4, 3)]
    assert added == [True, True, False, False, True]
    assert bad.indices() == [0, 2, 3]
    assert BadImages(0).indices() == []


# --- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(on_bad_image="ignore"), "must be 'raise' or 'skip', got 'ignore'"),
        (dict(on_bad_image=None), "must be 'raise' or 'skip', got None"),
        (dict(max_bad_share=1.5), r"max_bad_share .* in 0\.\.1, got 1\.5"),
        (dict(max_bad_share=-0.1), r"max_bad_share .* in 0\.\.1, got -0\.1"),
        (dict(max_bad_share=float("nan")), r"max_bad_share .* got nan"),
        (dict(on_bad_image="skip", test_mode=True), "scores need every image"),
    ],
)
def test_bad_settings_are_refused(voc_root, settings, message):
    with pytest.raises(ValueError, match=message):
        build(voc_root, **settings)
