import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmseg_fsr.models.pseudo_labels import LabelShares, present_classes
from mmseg_fsr.utils.label_ids import IGNORE_INDEX

NUM_CLASSES = 4


def made_up_batch(seed, size=6):
    """Labels of three images, of their own classes, background and undecided."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [0, 1, 0, 1]]).float()
    maps = []
    for row in labels:
        ids = torch.tensor([0, 255, *(row.nonzero()[:, 0] + 1).tolist()])
        maps.append(ids[torch.randint(len(ids), (size, size), generator=generator)])
    return torch.stack(maps), labels


def counted_pixel_by_pixel(batches):
    shares = {k: [] for k in range(NUM_CLASSES)}
    others = {0: [], 255: []}
    for maps, labels in batches:
        for label_map, row in zip(maps.tolist(), labels.tolist(), strict=True):
            pixels = [pixel for line in label_map for pixel in line]
            for value, found in others.items():
                found.append(pixels.count(value) / len(pixels))
            for k, has in enumerate(row):
                if has:
                    shares[k].append(pixels.count(k + 1) / len(pixels))
    return others, shares


@pytest.mark.parametrize("max_classes", [None, 2, NUM_CLASSES])
def test_means_over_images_are_those_of_a_loop(max_classes):
    batches = [made_up_batch(0), made_up_batch(1, size=9)]
    counter = LabelShares(NUM_CLASSES)
    for maps, labels in batches:
        counter.add(maps, present_classes(labels, max_classes))
    report = counter.report()
    others, shares = counted_pixel_by_pixel(batches)
    assert report.images == 6
    assert report.background == pytest.approx(sum(others[0]) / 6, abs=1e-6)
    assert report.undecided == pytest.approx(sum(others[255]) / 6, abs=1e-6)
    objects = 6 - sum(others[0]) - sum(others[255])
    assert report.objects == pytest.approx(objects / 6, abs=1e-6)
    assert report.class_images == [len(shares[k]) for k in range(NUM_CLASSES)]
    expected = [sum(x) / len(x) if x else 0 for x in shares.values()]
    assert report.class_shares == pytest.approx(expected, abs=1e-6)


def test_without_a_pixel_of_an_object_their_share_is_0():
    counter = LabelShares(NUM_CLASSES)
    _, labels = made_up_batch(0)
    for size in range(7, 40):
        maps = torch.randint(2, (3, size, size)) * IGNORE_INDEX
        counter.add(maps, present_classes(labels))
        # Exactly: what the others leave is rounded, and the console shows -0%.
        assert counter.report().objects == 0


def test_a_report_begins_anew():
    counter = LabelShares(NUM_CLASSES)
    maps, labels = made_up_batch(0)
    counter.add(maps, present_classes(labels))
    first = counter.report()
    assert counter.report().images == 0
    counter.add(maps, present_classes(labels))
    assert counter.report() == first


def test_places_that_hold_no_class_count_for_none():
    # Class 0 fills the empty places, and no image has it.
    labels = torch.tensor([[0.0, 1, 0, 0], [0, 0, 0, 0]])
    maps = torch.full((2, 2, 2), 1)
    counter = LabelShares(NUM_CLASSES)
    counter.add(maps, present_classes(labels, max_classes=3))
    assert counter.report().class_images == [0, 1, 0, 0]


class NoHostCopies(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func is not torch.ops.aten._local_scalar_dense.default, "asks the device"
        return func(*args, **(kwargs or {}))


def test_adding_asks_nothing_of_the_device():
    # A tensor of the meta device has no values to ask for.
    with torch.device("meta"):
        maps = torch.zeros(2, 8, 8, dtype=torch.int64)
        classes = present_classes(torch.zeros(2, NUM_CLASSES), max_classes=2)
        LabelShares(NUM_CLASSES).add(maps, classes)
    maps, labels = made_up_batch(0)
    classes, counter = present_classes(labels), LabelShares(NUM_CLASSES)
    with NoHostCopies():
        counter.add(maps, classes)
    with NoHostCopies(), pytest.raises(AssertionError, match="asks the device"):
        counter._sums.sum().item()
