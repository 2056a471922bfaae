import collections
import copyreg
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from mmengine.logging import HistoryBuffer

from mmseg_fsr.checkpoints.inert_pickle import InertObject, PersistentId, load_inert
from tests.support import malicious_pickles as malicious

WAYS = malicious.malicious_pickles(Path("touched")).keys()


def load(content):
    return load_inert(io.BytesIO(content))


@pytest.fixture
def touched(tmp_path):
    return tmp_path / "touched"


@pytest.mark.parametrize("way", WAYS)
def test_nothing_runs(touched, way):
    load(malicious.malicious_pickles(touched)[way])
    assert not touched.exists()


@pytest.mark.parametrize("way", WAYS)
def test_it_would_run_elsewhere(touched, monkeypatch, way):
    """The pickles of the test above are what they say."""
    monkeypatch.setattr(malicious.Patched, "append", print)
    pickle.loads(malicious.malicious_pickles(touched)[way])
    assert touched.exists()


def test_extension_codes_are_refused(touched, monkeypatch):
    """They would give an object of this process without a look at its name."""
    monkeypatch.setitem(copyreg._extension_cache, 7, Path.mkdir)
    content = pickle.dumps(touched)[:-1] + b"\x85R."
    with pytest.raises(pickle.UnpicklingError, match="extension code 7"):
        load(b"\x80\x02\x82\x07" + content[2:])
    assert not touched.exists()


def test_nothing_is_imported(tmp_path, monkeypatch):
    (tmp_path / "runs_at_import.py").write_text("raise SystemExit")
    monkeypatch.syspath_prepend(tmp_path)
    assert issubclass(load(b"cruns_at_import\nx\n."), InertObject)


def test_the_classes_are_left_as_they_were(touched):
    before = dict(vars(InertObject)), dict(vars(PersistentId))
    for content in malicious.malicious_pickles(touched).values():
        load(content)
    assert (dict(vars(InertObject)), dict(vars(PersistentId))) == before


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_are_themselves(protocol):
    values = dict(a=[1, 2.5, None, True], b=("x", {"y": -(2**70)}), c="ä", d=[[]])
    assert load(pickle.dumps(values, protocol)) == values


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_ordered_dicts_are_dicts_without_attributes(protocol):
    ordered = collections.OrderedDict(b=1, a=2)
    ordered._metadata = dict(version=1)
    loaded = load(pickle.dumps(ordered, protocol))
    assert type(loaded) is dict
    assert list(loaded.items()) == [("b", 1), ("a", 2)]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_objects_leave_their_neighbours_whole(protocol):
    values = dict(
        buffer=HistoryBuffer([1.0], [1]),
        array=np.arange(3),
        scalar=np.float64(1),
        deque=collections.deque([1, 2]),
        counts=collections.defaultdict(int, a=1),
        set={1, 2},
        frozen=frozenset([1]),
        path=Path("x"),
        complex=1j,
        function=np.mean,
        end="here",
    )
    loaded = load(pickle.dumps(values, protocol))
    assert loaded.keys() == values.keys()
    assert loaded["end"] == "here"
    assert isinstance(loaded["buffer"], InertObject)
    assert loaded["buffer"].qualname.endswith(".HistoryBuffer")
    assert loaded["function"].qualname == "numpy.mean"


def test_what_an_object_is_made_of_is_kept():
    loaded = load(pickle.dumps(1 + 2j, 4))
    assert loaded.qualname == "builtins.complex"
    assert loaded.args == (1.0, 2.0)


def test_state_of_an_object_is_kept_as_data():
    loaded = load(pickle.dumps(HistoryBuffer([1.0], [1], max_length=9), 2))
    assert loaded.args == ()
    assert loaded.state["max_length"] == 9
    assert isinstance(loaded.state["_log_history"], InertObject)
    assert load(pickle.dumps(Path, 2)).state is None


def test_persistent_ids_are_kept():
    assert load(b"\x80\x02K\x05Q.") == PersistentId(5)
