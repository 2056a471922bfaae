from types import SimpleNamespace

import pytest

from mmseg_fsr.export.split_dataset import ReadableItems, Unreadable, collate_readable


class Files:
    """A data set some of whose files are missing, broken or the fault of its author."""

    metainfo = dict(classes=("background", "cat"))
    errors = {
        1: FileNotFoundError("image b.jpg does not exist"),
        2: ValueError("image c.jpg cannot be decoded"),
        3: TypeError("a mistake"),
    }

    def __getitem__(self, index):
        if index in self.errors:
            raise self.errors[index]
        return dict(inputs=index, data_samples=SimpleNamespace(index=index))


def test_only_the_chosen_items_are_there():
    items = ReadableItems(Files(), [4, 2, 7])
    assert len(items) == 3
    assert items[0]["inputs"] == 4
    assert items[2]["inputs"] == 7
    assert items.metainfo == Files.metainfo


def test_unreadable_files_are_told_apart_from_mistakes():
    items = ReadableItems(Files(), range(5))
    assert items[1] == Unreadable("image b.jpg does not exist")
    assert items[2] == Unreadable("image c.jpg cannot be decoded")
    with pytest.raises(TypeError, match="a mistake"):
        items[3]


def test_a_batch_keeps_what_could_be_read():
    items = ReadableItems(Files(), range(5))
    batch = collate_readable([items[0], items[1], items[2], items[4]])
    assert list(batch.data["inputs"]) == [0, 4]
    assert [sample.index for sample in batch.data["data_samples"]] == [0, 4]
    assert batch.problems == [
        "image b.jpg does not exist",
        "image c.jpg cannot be decoded",
    ]


def test_a_batch_of_which_nothing_could_be_read():
    batch = collate_readable([Unreadable("image b.jpg does not exist")])
    assert batch.data is None
    assert len(batch.problems) == 1
