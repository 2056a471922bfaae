"""Images that cannot be read, left out of training and counted."""

import copy
import pickle
import re

import pytest
from mmengine.fileio import LocalBackend, register_backend
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmseg_fsr.datasets import ImageLabelDataset
from tests.support.broken_files import FAULTS, missing, no_image, too_large
from tests.support.runs import own_globals
from tests.support.voc_folder import HEIGHTS

from .base import LOAD, VALIDATION, build


class LastInstead(ImageLabelDataset):
    """Draws image c in place of a bad one."""

    def _rand_another(self):
        return len(self) - 1


def skipping(root, share=0.5, type=LastInstead, **settings):
    return build(root, type=type, on_bad_image="skip", max_bad_share=share, **settings)


def remove_images(root, names):
    for name in names:
        missing(root / "JPEGImages" / f"{name}.jpg")


def height(item):
    return len(item["img"])


def heights(dataset, *indices):
    return [height(dataset[index]) for index in indices]


def loaded_heights(dataset, workers, *indices, method=None):
    """The same by workers, who take turns."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=indices,
        collate_fn=height,
        num_workers=workers,
        # A worker begins its next image when the one before has been taken over.
        prefetch_factor=1 if workers else None,
        multiprocessing_context=method,
    )
    return list(loader)


@pytest.fixture
def log(tmp_path):
    """Reads the warnings of the log, without the filter that drops what was said."""
    path = tmp_path / "log.txt"
    with own_globals():
        logger = MMLogger.get_instance("bad_images", log_file=str(path))
        for handler in logger.handlers:
            handler.filters.clear()
        yield lambda: [x for x in path.read_text().splitlines() if "bad image" in x]


@pytest.mark.parametrize(("spoil", "reason"), FAULTS)
def test_another_image_is_drawn_for_a_bad_one(voc_root, log, spoil, reason):
    path = voc_root / "JPEGImages/b.jpg"
    spoil(path)
    with pytest.raises((OSError, ValueError), match=rf"image {path} {reason}"):
        build(voc_root)[1]
    dataset = skipping(voc_root, type="ImageLabelDataset")
    assert set(heights(dataset, *[1, -2] * 10)) == {HEIGHTS[0], HEIGHTS[2]}
    assert heights(dataset, 0, 2) == [HEIGHTS[0], HEIGHTS[2]]
    (line,) = log()
    assert re.search(f"bad image left out: image {path} {reason}", line)
    assert dataset.bad_images.indices() == [1]


@register_backend("half", force=True)
class HalfOfB(LocalBackend):
    """A disk that returns half of the file b.jpg, so many times."""

    times = 0

    def get(self, filepath):
        content = super().get(filepath)
        if str(filepath).endswith("b.jpg") and HalfOfB.times:
            HalfOfB.times -= 1
            return content[: len(content) // 2]
        return content


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (9, ValueError, r"b\.jpg cannot be decoded .*truncated"),
        (1, OSError, r"b\.jpg could not be read .*truncated.*, but could when tri"),
    ],
)
def test_disk_that_returns_half_an_image(
    voc_root, log, monkeypatch, times, error, message
):
    disk = dict(backend_args=dict(backend="half"))
    disk["pipeline"] = [LOAD[0] | disk]
    monkeypatch.setattr(HalfOfB, "times", times)
    with pytest.raises(error, match=message):
        build(voc_root, **disk)[1]
    HalfOfB.times = times
    dataset = skipping(voc_root, **disk)
    assert heights(dataset, 0, 1) == [HEIGHTS[0], HEIGHTS[2]]
    assert re.search(f"image .*{message}", *log())
    assert dataset.bad_images.indices() == [1]


# --- only faults of an image


def fails_with(error):
    def fail(results):
        raise error

    return fail


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (fails_with(KeyError("of my own")), KeyError),
        (fails_with(OSError("of my own")), OSError),
        (dict(type="LoadImageFromFile", imdecode_backend="of my own"), ValueError),
    ],
)
def test_other_errors_stay_as_they_are(voc_root, step, error):
    pipeline = [*LOAD, step]
    skips = skipping(voc_root, share=1, pipeline=pipeline)
    for dataset in (build(voc_root, pipeline=pipeline), skips):
        with pytest.raises(error, match="of my own") as caught:
            dataset[0]
        assert "image" not in str(caught.value)
    assert skips.bad_images.indices() == []


@pytest.mark.parametrize("spoil", [missing, no_image, too_large])
def test_bad_masks_are_not_skipped(voc_root, spoil):
    path = voc_root / "SegmentationClass/b.png"
    spoil(path)
    with pytest.raises((OSError, ValueError), match=f"mask {path} "):
        skipping(voc_root, **{**VALIDATION, "test_mode": False})[1]


# --- counted


@pytest.mark.parametrize("workers", [0, 2])
def test_each_name_is_logged_once(voc_root, log, workers):
    remove_images(voc_root, "ab")
    dataset = skipping(voc_root, share=2 / 3)
    # Both workers get both images, the second each after the first is done with it.
    order = (0, 2, 2, 0, 1, 2, 2, 1)
    assert loaded_heights(dataset, workers, *order) == [HEIGHTS[2]] * 8
    assert sorted(re.search(r"(.)\.jpg", line)[1] for line in log()) == ["a", "b"]
    assert dataset.bad_images.indices() == [0, 1]


@pytest.mark.parametrize(
    ("workers", "method"),
    [(0, None), (2, "fork"), pytest.param(1, "spawn", marks=pytest.mark.slow)],
)
def test_too_many_bad_images_stop_training(voc_root, workers, method):
    remove_images(voc_root, "ab")
    dataset = skipping(voc_root)
    indices = [0, 1]
    if method == "spawn":
        # Importing the package takes long, so this process is the other worker.
        assert heights(dataset, indices.pop(0)) == [HEIGHTS[2]]
    # Of two workers each gets one bad image, which is not yet too much.
    with pytest.raises(RuntimeError) as caught:
        loaded_heights(dataset, workers, *indices, method=method)
    message = str(caught.value)
    assert (
        "2 of 3 images are bad, more than on_bad_image='skip' may leave out with "
        f"max_bad_share=0.5: {voc_root}/JPEGImages/a.jpg, {voc_root}/JPEGImages/b.jpg. "
    ) in message
    assert f"take them out of {voc_root}/ImageSets/Segmentation/train.txt" in message
    assert "raise max_bad_share" in message
    assert dataset.bad_images.indices() == [0, 1]


def test_five_of_many_bad_images_are_named(voc_root):
    names = "\n".join([*(f"n{number}" for number in range(8)), "a"])
    (voc_root / "ImageSets/Segmentation/train.txt").write_text(names)
    (voc_root / "labels.txt").write_text(names)
    dataset = skipping(voc_root, share=7 / 9, label_file="labels.txt")
    assert heights(dataset, *range(7)) == [HEIGHTS[0]] * 7
    named = r"^8 of 9 .*n0\.jpg.* \S+n4\.jpg and 3 more\. "
    with pytest.raises(RuntimeError, match=named):
        dataset[7]


@pytest.mark.parametrize(
    ("names", "share", "indices", "words"),
    [
        ("a", 0, None, "1 of 3 .*max_bad_share=0:"),
        ("a", 0.33, None, "1 of 3 .*max_bad_share=0.33:"),
        ("a", 0.49, [0, 2], "1 of 2 .*max_bad_share=0.49:"),
        ("a", 0.5, [0, 2], None),
        ("abc", 1, None, "3 of 3"),
    ],
)
def test_the_share_is_one_of_the_images_in_use(voc_root, names, share, indices, words):
    for name in names:
        no_image(voc_root / "JPEGImages" / f"{name}.jpg")
    dataset = skipping(voc_root, share, "ImageLabelDataset", indices=indices)
    if words is None:
        assert heights(dataset, 0) == [HEIGHTS[2]]
        return
    with pytest.raises(RuntimeError, match=f"^{words}"):
        dataset[0]


def in_place(dataset):
    dataset = copy.deepcopy(dataset)
    dataset.get_subset_([1, 2])
    return dataset


@pytest.mark.parametrize(
    ("copied", "before", "after", "settings"),
    [
        (copy.deepcopy, [0], [0, 1], dict(lazy_init=True)),
        (lambda x: pickle.loads(pickle.dumps(x)), [0], [0, 1], {}),
        (lambda x: x.get_subset([1, 2]), [], [0], dict(serialize_data=True)),
        (in_place, [], [0], {}),
    ],
)
def test_a_copy_counts_for_itself_across_its_workers(
    voc_root, copied, before, after, settings
):
    remove_images(voc_root, "ab")
    original = skipping(voc_root, share=1, **settings)
    original.full_init()
    assert heights(original, 0) == [HEIGHTS[2]]
    original.full_init()
    other = copied(original)
    assert other.bad_images.indices() == before
    assert loaded_heights(other, 1, len(other) - 2) == [HEIGHTS[2]]
    assert other.bad_images.indices() == after
    assert original.bad_images.indices() == [0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(on_bad_image="ignore"), "must be 'raise' or 'skip', got 'ignore'"),
        (dict(max_bad_share=1.5), r"max_bad_share .* in 0\.\.1, got 1\.5"),
        (dict(max_bad_share=float("nan")), r"max_bad_share .* got nan"),
        (dict(on_bad_image="skip", test_mode=True), "scores need every image"),
    ],
)
def test_bad_settings_are_refused(voc_root, settings, message):
    with pytest.raises(ValueError, match=message):
        build(voc_root, **settings)
    # Nothing is counted unless asked for.
    assert build(voc_root).bad_images is None
