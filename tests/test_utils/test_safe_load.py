import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmseg_fsr.checkpoints import torch_archive
from mmseg_fsr.utils import load_checkpoint_file, load_state_dict_file
from tests.support.malicious_pickles import Reduced, malicious_pickles

OLD = dict(_use_new_zipfile_serialization=False)


def training_checkpoint(**state_dict):
    """Such as mmengine writes."""
    return dict(
        state_dict=state_dict,
        meta=dict(dataset_meta=dict(classes=("a", "b")), iter=3),
        message_hub=dict(log_scalars=dict(loss=HistoryBuffer([np.float64(1.0)], [1]))),
        optimizer=dict(state={0: dict(step=torch.zeros(()))}),
    )


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_reads_tensors(tmp_path, key):
    weights = {"a": torch.randn(2), "b": torch.ones(1)}
    checkpoint = dict(weights, iter=3) if key is None else {key: weights, "lr": 0.1}
    torch.save(checkpoint, tmp_path / "x.pth")
    loaded = load_state_dict_file(tmp_path / "x.pth")
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_reads_a_checkpoint_of_training(tmp_path):
    weights = torch.randn(2, 3)
    torch.save(training_checkpoint(a=weights), tmp_path / "x.pth")
    state_dict, rest = load_checkpoint_file(tmp_path / "x.pth")
    assert state_dict.keys() == {"a"}
    assert torch.equal(state_dict["a"], weights)
    assert rest.keys() == {"meta", "message_hub", "optimizer"}
    assert rest["meta"] == dict(dataset_meta=dict(classes=("a", "b")), iter=3)


def test_other_entries_of_a_plain_state_dict(tmp_path):
    torch.save(dict(a=torch.ones(1), iter=3), tmp_path / "x.pth")
    assert load_checkpoint_file(tmp_path / "x.pth").rest == dict(iter=3)


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
    ],
)
@pytest.mark.parametrize("options", [{}, OLD], ids=["zip", "old"])
def test_tensors_as_torch_reads_them(tmp_path, dtype, options):
    base = torch.randint(0, 2, (4, 6)).to(dtype)
    weights = dict(
        whole=base,
        view=base[1:, ::2],
        turned=base.T,
        scalar=base[2, 3],
        empty=base[:0],
        expanded=base[:1].expand(3, 6),
        parameter=torch.nn.Parameter(base.clone(), requires_grad=False),
    )
    torch.save(weights, tmp_path / "x.pth", **options)
    loaded = load_state_dict_file(tmp_path / "x.pth")
    expected = torch.load(tmp_path / "x.pth", weights_only=True)
    assert list(loaded) == list(expected)
    for name, tensor in expected.items():
        assert torch.equal(loaded[name], tensor), name
        assert loaded[name].dtype == tensor.dtype
        assert loaded[name].stride() == tensor.stride()
    # What shared memory shares it, and can be written to.
    loaded["whole"].zero_()
    assert not loaded["turned"].any()


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        torch.ones(2, device="meta"),
    ],
    ids=["complex", "sparse", "meta"],
)
def test_unusual_tensors_are_refused_not_skipped(tmp_path, tensor):
    torch.save(dict(a=torch.ones(1), b=tensor), tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth cannot .* is not supported"):
        load_state_dict_file(tmp_path / "x.pth")


# ------------------------------------------------------------ nothing is run


WAYS = malicious_pickles(Path("touched")).keys()


@pytest.fixture
def touched(tmp_path):
    return tmp_path / "touched"


def zip_with(path, content, name="archive/data.pkl"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
        archive.writestr("archive/version", "3\n")


@pytest.mark.parametrize("way", WAYS)
def test_nothing_in_a_zip_file_runs(tmp_path, touched, way):
    zip_with(tmp_path / "x.pth", malicious_pickles(touched)[way])
    with pytest.raises(ValueError, match="holds no tensors by name"):
        load_state_dict_file(tmp_path / "x.pth")
    assert not touched.exists()


@pytest.mark.parametrize("way", WAYS)
def test_nothing_in_a_bare_pickle_runs(tmp_path, touched, way):
    (tmp_path / "x.pth").write_bytes(malicious_pickles(touched)[way])
    with pytest.raises(ValueError, match="cannot be read as plain weights"):
        load_state_dict_file(tmp_path / "x.pth")
    assert not touched.exists()


def test_objects_beside_the_tensors_never_run(tmp_path, touched):
    checkpoint = dict(state_dict=dict(a=torch.ones(1)), x=Reduced(str(touched)))
    torch.save(checkpoint, tmp_path / "x.pth")
    assert load_state_dict_file(tmp_path / "x.pth").keys() == {"a"}
    assert not touched.exists()


def test_objects_in_the_old_format_are_refused_and_never_run(tmp_path, touched):
    checkpoint = dict(state_dict=dict(a=torch.ones(1)), x=Reduced(str(touched)))
    torch.save(checkpoint, tmp_path / "x.pth", **OLD)
    with pytest.raises(ValueError, match="old format and holds objects other"):
        load_state_dict_file(tmp_path / "x.pth")
    assert not touched.exists()


def test_tar_files_are_refused_before_torch_sees_them(tmp_path, touched, monkeypatch):
    monkeypatch.delattr(torch, "load")
    with tarfile.open(tmp_path / "x.pth", "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Reduced(str(touched)))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with pytest.raises(ValueError, match=r"x\.pth cannot .* it is a tar file"):
        load_state_dict_file(tmp_path / "x.pth")
    assert not touched.exists()


def test_torchscript_is_never_loaded(tmp_path, monkeypatch):
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "x.pth")
    monkeypatch.delattr(torch, "load")
    monkeypatch.delattr(torch.jit, "load")
    with pytest.raises(ValueError, match="holds no tensors by name"):
        load_state_dict_file(tmp_path / "x.pth")


# ------------------------------------------------------------- damaged files


def tensor_pickle(size, stride, offset=0, storage=b"FloatStorage", key="0"):
    """A checkpoint with one tensor, written by hand."""
    parts = (
        b"\x80\x02}",
        pickle.dumps("a", 2)[2:-1],
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        pickle.dumps("storage", 2)[2:-1],
        b"ctorch\n" + storage + b"\n",
        *(pickle.dumps(value, 2)[2:-1] for value in (key, "cpu", 4)),
        b"tQ",
        *(pickle.dumps(value, 2)[2:-1] for value in (offset, size, stride, False)),
        b"}tRs.",
    )
    return b"".join(parts)


def write_tensor(path, **description):
    zip_with(path, tensor_pickle(**description))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", np.arange(4, dtype=np.float32).tobytes())


def test_tensor_written_by_hand(tmp_path):
    write_tensor(tmp_path / "x.pth", size=(1, 2), stride=(9, 2), offset=1)
    assert load_state_dict_file(tmp_path / "x.pth")["a"].tolist() == [[1, 3]]


@pytest.mark.parametrize(
    "description",
    [
        dict(size=(5,), stride=(1,)),
        dict(size=(2,), stride=(4,)),
        dict(size=(), stride=(), offset=4),
        dict(size=(2,), stride=(-1,), offset=3),
        dict(size=(-1,), stride=(1,)),
        dict(size=(1,), stride=(1,), offset=-1),
        # Small, if summed in 64 bits.
        dict(size=(2**32 + 1, 1), stride=(2**32, 1)),
    ],
)
def test_tensors_beyond_their_storage(tmp_path, description):
    write_tensor(tmp_path / "x.pth", **description)
    with pytest.raises(ValueError, match=r"x\.pth cannot .* beyond its storage"):
        load_state_dict_file(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "description",
    [
        dict(size=(2,), stride=(1, 1)),
        dict(size="ab", stride=(1, 1)),
        dict(size=(1,), stride=(1,), key="1"),
        dict(size=(1,), stride=(1,), key="../version"),
        dict(size=(1,), stride=(1,), storage=b"NoStorage"),
    ],
)
def test_tensors_that_are_not_in_the_file(tmp_path, description):
    write_tensor(tmp_path / "x.pth", **description)
    with pytest.raises(ValueError, match=r"x\.pth cannot be read as plain weights"):
        load_state_dict_file(tmp_path / "x.pth")


def test_damaged_tensor(tmp_path):
    torch.save(dict(a=torch.full((999,), 3.0)), tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    value = np.float32(3).tobytes()
    (tmp_path / "x.pth").write_bytes(content.replace(value * 9, value * 8 + b"abcd", 1))
    with pytest.raises(ValueError, match=r"damaged.* Bad CRC"):
        load_state_dict_file(tmp_path / "x.pth")


def test_the_other_byte_order(tmp_path, monkeypatch):
    torch.save(dict(a=torch.ones(1)), tmp_path / "x.pth")
    other = dict(little="big", big="little")[torch_archive.sys.byteorder]
    monkeypatch.setattr(torch_archive.sys, "byteorder", other)
    with pytest.raises(ValueError, match=r"its numbers are .*-endian"):
        load_state_dict_file(tmp_path / "x.pth")


def test_another_zip_file(tmp_path):
    zip_with(tmp_path / "x.pth", b"", name="word/document.xml")
    with pytest.raises(ValueError, match=r"it is no zip file of torch\.save"):
        load_state_dict_file(tmp_path / "x.pth")


@pytest.mark.parametrize("content", [b"", b"no weights\n", b"PK\x03\x04 broken"])
def test_damaged_file(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pth cannot be read as plain weights"):
        load_state_dict_file(tmp_path / "x.pth")


def test_cut_off_file(tmp_path):
    torch.save(dict(a=torch.randn(100)), tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_state_dict_file(tmp_path / "x.pth")


def test_nobody_is_advised_to_unpickle(tmp_path):
    (tmp_path / "x.pth").write_text("# A page\n\nof text")
    with pytest.raises(ValueError, match="cannot be read") as caught:
        load_state_dict_file(tmp_path / "x.pth")
    message = str(caught.value)
    assert "set to `False`" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "content", [dict(lr=0.1), [torch.ones(1)], torch.ones(1), dict(state_dict={})]
)
def test_no_tensors_by_name(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="holds no tensors by name"):
        load_state_dict_file(tmp_path / "x.pth")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        load_state_dict_file(tmp_path / "none.pth")


def test_address_that_no_file_is_read_from():
    with pytest.raises(ValueError, match=r"^torchvision://resnet50 .*init_cfg"):
        load_state_dict_file("torchvision://resnet50")
