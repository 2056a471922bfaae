"""Files of any content are read or refused by their names, never anything else."""

import io
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmseg_fsr.datasets.mask_file import encode_mask
from tests.support.read_bytes import READERS, read_bytes

WORDS = ["one", "two", "cat", "dog", "background", "1", "-1", "", "../x", "/x"]
WORD = st.sampled_from(WORDS) | st.text(max_size=3)
LABELS = st.lists(WORD | st.integers() | st.floats() | st.booleans() | st.none())
TREE = st.recursive(
    WORD | st.integers() | st.floats() | st.booleans() | st.none(),
    lambda tree: st.lists(tree, max_size=3) | st.dictionaries(WORD, tree, max_size=3),
    max_leaves=8,
)


def as_json(tree):
    return tree.map(lambda value: json.dumps(value).encode())


def lines(line):
    return st.lists(line, max_size=5).map(lambda rows: "\n".join(rows).encode())


@st.composite
def arrays(draw):
    kind = draw(st.sampled_from(["u1", "f4", "?", "c8", "U3", "M8[s]", "O", "u1,f4"]))
    shape = draw(st.sampled_from([(2, 2), (4,), (2, 2, 1), (0,), (), (2, 3)]))
    content = io.BytesIO()
    np.save(content, np.full(shape, draw(st.integers(0, 2))).astype(kind))
    data = bytearray(content.getvalue())
    for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=3)):
        data[place] = draw(st.integers(0, 255))
    return bytes(data)


@st.composite
def xml(draw):
    text = draw(st.sampled_from(["cat", " dog ", "", "&amp;", "&x;", "<a/>"]) | WORD)
    head = draw(
        st.sampled_from(
            [
                "",
                '<?xml version="1.0" encoding="utf-16"?>',
                '<?xml version="1.0" encoding="big5"?>',
                '<?xml version="1.0" encoding="none"?>',
                '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
            ]
        )
    )
    name = draw(st.sampled_from(["name", "part", "object"]))
    body = f"{head}<a><object><{name}>{text}</{name}></object></a>"
    return body.encode(draw(st.sampled_from(["utf-8", "utf-16", "utf-8-sig"])))


@st.composite
def masks(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    mask = np.full(shape, draw(st.integers(0, 255)), np.uint8)
    data = bytearray(encode_mask(mask, [[0, 0, 0], [9, 9, 9]]))
    if draw(st.booleans()):
        for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=4)):
            data[place] = draw(st.integers(0, 255))
        del data[draw(st.integers(0, len(data))) :]
    return bytes(data)


COCO = st.fixed_dictionaries(
    dict(
        images=st.lists(st.fixed_dictionaries(dict(id=TREE, file_name=TREE))) | TREE,
        categories=st.lists(st.fixed_dictionaries(dict(id=TREE, name=TREE))) | TREE,
        annotations=st.lists(
            st.fixed_dictionaries(dict(image_id=TREE, category_id=TREE))
        ),
    )
)
CONTENTS = {
    "label file, JSON": as_json(
        st.fixed_dictionaries(dict(one=LABELS, two=LABELS)) | TREE
    ),
    "label file, text": st.tuples(
        st.sampled_from([b"", b"one\ntwo cat\n", b"\ntwo 1\r\n one\t2 dog\n"]),
        lines(st.lists(WORD, max_size=3).map(" ".join)),
    ).map(b"".join),
    "label file, NumPy": arrays(),
    "split list": lines(WORD),
    "VOC's XML": xml(),
    "COCO's JSON": as_json(COCO | TREE),
    "mask": masks(),
}


@pytest.mark.parametrize("kind", READERS)
def test_any_file_is_read_or_refused_by_its_name(tmp_path, kind):
    taken = []

    @given(CONTENTS[kind] | st.binary(max_size=64))
    @settings(
        max_examples=50,
        deadline=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],
    )
    def read_all(content):
        taken.append(read_bytes(kind, content, tmp_path))

    read_all()
    # Neither are all refused, nor is everything taken.
    assert set(taken) == {True, False}
