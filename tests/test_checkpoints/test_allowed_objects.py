import pickle
import re
import sys
from argparse import Namespace
from collections import Counter, OrderedDict, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.optim import OneCycleLR
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from mmseg_fsr.checkpoints.reading import load_file

from .test_reading import FORMATS, zip_with


@pytest.fixture
def there_and_back(tmp_path):
    def there_and_back(content, **options):
        torch.save(content, tmp_path / "x.pth", **options)
        return load_file(tmp_path / "x.pth")

    return there_and_back


@pytest.fixture
def load_pickle(tmp_path):
    def load_pickle(content):
        zip_with(tmp_path / "x.pth", content)
        return load_file(tmp_path / "x.pth")

    return load_pickle


def described(value):
    """Contents with all types, to be compared."""
    if isinstance(value, HistoryBuffer):
        value = dict(data=value.data, length=value.max_length)
    if isinstance(value, np.ndarray | np.generic | torch.Tensor):
        return type(value), value.dtype, value.tolist()
    if isinstance(value, dict | Namespace):
        items = vars(value) if isinstance(value, Namespace) else value
        return type(value), [(described(k), described(v)) for k, v in items.items()]
    if isinstance(value, list | tuple):
        return type(value), [described(item) for item in value]
    return type(value), value


def history(*values, max_length=7):
    buffer = HistoryBuffer(max_length=max_length)
    for value in values:
        buffer.update(value, 3)
    return buffer


# All kinds of values that mmengine's runner, mmseg, mmpretrain and timm save.
VALUES = dict(
    plain=[1, 2.5, None, True, "ä", -(2**70), 1j, (b"bytes", b""), {"x"}],
    numbers=[np.float64(0.1), np.int64(2), np.float16(1), np.bool_(True)],
    arrays=[
        np.arange(6, dtype=">i4").reshape(2, 3).T,
        np.zeros((0, 2), np.float32),
        np.array(5, np.uint8),
    ],
    dtypes=[np.dtype("float32"), torch.float16, torch.Size([1, 2])],
    history=[history(1.5, 2.5, np.float64(4)), history()],
    milestones=Counter([2, 2, 5]),
    args=Namespace(lr=0.1, betas=[np.float32(0.5)], nested=Namespace()),
    tensor=torch.ones(2, dtype=torch.complex64),
)


@FORMATS
def test_what_checkpoints_consist_of_comes_back(there_and_back, options):
    loaded = there_and_back(VALUES, **options)
    assert described(loaded) == described(VALUES)
    assert loaded["history"][0].statistics("max") == 4
    # It can be saved again, and arrays be written to.
    assert described(there_and_back(loaded)) == described(VALUES)
    loaded["arrays"][0][:] = 0


@pytest.mark.parametrize("core", [b"numpy.core", b"numpy._core"])
def test_names_of_numpy_1_and_2(load_pickle, core):
    content = pickle.dumps([np.float64(0.5), np.arange(3)], 2)
    content, count = re.subn(rb"numpy\._?core", core, content)
    assert count
    number, array = load_pickle(content)
    assert type(number) is np.float64
    assert (number, *array) == (0.5, 0, 1, 2)


def test_containers_and_tensors_come_back_plain(there_and_back):
    ordered = OrderedDict(b=torch.nn.Parameter(torch.ones(1)), a=2)
    ordered._metadata = dict(version=1)
    loaded = there_and_back(ordered)
    assert type(loaded) is dict
    assert list(loaded) == ["b", "a"]
    assert type(loaded["b"]) is torch.Tensor
    assert not loaded["b"].requires_grad


def weighted_mean(self):
    return 1


def test_history_with_a_registered_statistic(there_and_back, monkeypatch):
    methods = HistoryBuffer._statistics_methods
    monkeypatch.setitem(methods, "weighted_mean", weighted_mean)
    assert there_and_back(history(2.0)).statistics("weighted_mean") == 1
    monkeypatch.delitem(methods, "weighted_mean")


@FORMATS
@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Path("x"), "pathlib.*Path"),
        (deque([1]), "collections.deque"),
        (np.mean, "numpy.mean"),
        (np.array(["a"]), "numpy.dtype of <U1"),
        (np.array([{}]), "numpy.dtype of object"),
        (np.ndarray, "numpy.ndarray"),
        (HistoryBuffer, "mmengine.*HistoryBuffer"),
        (getattr, "builtins.getattr"),
        (torch._utils._rebuild_tensor_v2, "torch._utils._rebuild_tensor_v2"),
        (torch.eye(2).to_sparse(), "a tensor that is torch.sparse_coo"),
        (torch.ones(2, device="meta"), "a tensor .* on meta"),
    ],
)
def test_other_objects_are_named(there_and_back, value, name, options):
    with pytest.raises(ValueError, match=rf"x\.pth .* holds {name}.* state dict alone"):
        there_and_back(dict(state_dict=dict(a=torch.ones(1)), x=[value]), **options)


@pytest.mark.parametrize("anneal_strategy", ["cos", "linear"])
def test_state_of_one_cycle(there_and_back, anneal_strategy):
    optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=1.0)
    options = dict(eta_max=1.0, total_steps=4, anneal_strategy=anneal_strategy)
    state = OneCycleLR(optimizer, **options).state_dict()
    read = there_and_back(state)
    assert read.pop("anneal_func") is state.pop("anneal_func")
    assert described(read) == described(state)


def test_one_cycle_gives_no_other_function(there_and_back):
    with pytest.raises(ValueError, match=r"holds builtins\.getattr"):
        there_and_back(OneCycleParamScheduler._get_value)


def test_what_the_process_allows_elsewhere_does_not_count(there_and_back):
    with torch.serialization.safe_globals([deque, np.dtype]):
        before = set(torch.serialization.get_safe_globals())
        with pytest.raises(ValueError, match=r"holds collections\.deque"):
            there_and_back(deque([1]))
        assert there_and_back(np.dtype("int8")) == np.int8
        assert set(torch.serialization.get_safe_globals()) == before


# ------------------------------------------- what allowed names could be used for

HISTORY = b"cmmengine.logging.history_buffer\nHistoryBuffer\n"
GETATTR = b"c__builtin__\ngetattr\n"


@pytest.mark.parametrize(
    "content",
    [
        # getattr(HistoryBuffer.mean, '__globals__')['warnings'] = 5
        GETATTR + b"(" + GETATTR + b"(" + HISTORY + b"X\x04\x00\x00\x00meantR"
        b"X\x0b\x00\x00\x00__globals__tRX\x08\x00\x00\x00warningsK\x05s.",
        # vars(HistoryBuffer)['mean'] = 5
        HISTORY + b"N}X\x04\x00\x00\x00meanK\x05s\x86b.",
        # HistoryBuffer._statistics_methods['mean'] = 5
        HISTORY + b")\x81}(X\x12\x00\x00\x00statistics_methods"
        b"}X\x04\x00\x00\x00meanK\x05su}b.",
    ],
    ids=["globals", "class", "table"],
)
def test_no_state_of_the_process_is_changed(load_pickle, content):
    module = sys.modules[HistoryBuffer.__module__]
    states = vars(module), vars(HistoryBuffer), HistoryBuffer._statistics_methods
    before = [dict(state) for state in states]
    with pytest.raises(ValueError, match="cannot be read as plain weights"):
        load_pickle(b"\x80\x02" + content)
    assert [dict(state) for state in states] == before


def test_statistics_of_a_file_are_not_taken(there_and_back, monkeypatch):
    own = dict(HistoryBuffer._statistics_methods)
    monkeypatch.setattr(HistoryBuffer, "_statistics_methods", dict(mean="other"))
    buffer = history(1.0)
    monkeypatch.undo()
    assert there_and_back(buffer).statistics("mean") == 1 / 3
    assert HistoryBuffer._statistics_methods == own


def test_a_dtypes_state_gives_the_byte_order_alone(load_pickle):
    """By its flags, numbers could be taken for addresses."""
    content = pickle.dumps(np.arange(2.0), 2)
    forged = content.replace(b"\xffK\x00t", b"\xffK\x3ft")
    assert forged != content
    array = load_pickle(forged)
    assert array.tolist() == [0, 1]
    assert array.dtype.flags == 0
