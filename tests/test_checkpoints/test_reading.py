import io
import pickle
import struct
import tarfile
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmseg_fsr.checkpoints import load_checkpoint_file, load_state_dict_file
from mmseg_fsr.checkpoints.reading import load_file, plain_dataset_meta
from tests.support.malicious_pickles import Reduced, malicious_pickles

OLD = dict(_use_new_zipfile_serialization=False)
FORMATS = pytest.mark.parametrize("options", [{}, OLD], ids=["zip", "old"])
WAYS = malicious_pickles(Path("touched")).keys()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.pth"


@pytest.fixture
def touched(tmp_path):
    """A folder that only code of a file would make."""
    yield tmp_path / "touched"
    assert not (tmp_path / "touched").exists()


@FORMATS
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_tensors_and_the_rest(path, key, options):
    weights = {"module.a": torch.randn(2), "b": torch.ones(1)}
    rest = dict(
        meta=dict(dataset_meta=dict(classes=("a", "b")), iter=3),
        args=Namespace(lr=np.float64(0.1)),
    )
    torch.save(
        weights | rest if key is None else {key: weights} | rest, path, **options
    )
    loaded = load_checkpoint_file(path)
    assert loaded.state_dict.keys() == weights.keys()
    assert all(torch.equal(loaded.state_dict[name], weights[name]) for name in weights)
    assert loaded.rest == rest


@FORMATS
def test_tensors_as_torch_reads_them(path, options):
    for dtype in (torch.float64, torch.float16, torch.bfloat16, torch.int8, torch.bool):
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
        torch.save(weights, path, **options)
        loaded = load_state_dict_file(path)
        assert list(loaded) == list(weights)
        for name, tensor in weights.items():
            assert torch.equal(loaded[name], tensor), name
            assert loaded[name].dtype == dtype
            assert loaded[name].stride() == tensor.stride()
        # Tensors that share memory do so again, and can be written to.
        loaded["whole"].zero_()
        assert not loaded["turned"].any()


@pytest.mark.parametrize(
    "content", [[torch.ones(1)], dict(lr=0.1), dict(state_dict={})]
)
def test_no_tensors_by_name(path, content):
    torch.save(content, path)
    with pytest.raises(ValueError, match="holds no tensors by name"):
        load_state_dict_file(path)


def test_missing_file(path):
    with pytest.raises(FileNotFoundError, match=r"x\.pth does not exist"):
        load_file(path)


def test_address_that_no_file_is_read_from():
    with pytest.raises(ValueError, match=r"^torchvision://resnet50 .*init_cfg"):
        load_file("torchvision://resnet50")


# ------------------------------------------------------------ nothing is run


def zip_with(path, content, **more):
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in {"data.pkl": content, "version": "3\n", **more}.items():
            archive.writestr(f"archive/{name}", part)


@pytest.mark.parametrize("way", WAYS)
def test_no_pickle_runs(path, touched, way):
    content = malicious_pickles(touched)[way]
    zip_with(path, content)
    with pytest.raises(ValueError, match=r"x\.pth cannot be read as plain weights"):
        load_file(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pth cannot be read as plain weights"):
        load_file(path)


@pytest.mark.parametrize("way", WAYS)
def test_it_would_run_elsewhere(tmp_path, way):
    """The pickles of the test above are what they say."""
    pickle.loads(malicious_pickles(tmp_path / "touched")[way])
    assert (tmp_path / "touched").exists()


@FORMATS
def test_an_unknown_object_is_named(path, touched, options):
    checkpoint = dict(state_dict=dict(a=torch.ones(1)), x=Reduced(str(touched)))
    torch.save(checkpoint, path, **options)
    with pytest.raises(ValueError, match=r"x\.pth cannot .* holds posix\.mkdir, which"):
        load_state_dict_file(path)


def test_tar_files_are_refused_before_torch_sees_them(path, touched, monkeypatch):
    monkeypatch.delattr(torch, "load")
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(Reduced(str(touched)))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with pytest.raises(ValueError, match=r"x\.pth cannot .* it is a tar file"):
        load_file(path)


@pytest.fixture
def torchscript(path, monkeypatch):
    """An archive of TorchScript, which nothing may load."""
    torch.jit.script(torch.nn.Linear(1, 1)).save(path)
    monkeypatch.delattr(torch._C, "import_ir_module_from_buffer")
    return path.read_bytes()


def test_torchscript_is_refused(path, torchscript):
    with pytest.raises(ValueError, match=r"x\.pth cannot .* a TorchScript archive"):
        load_file(path)


def test_torchscript_is_refused_where_only_torch_sees_it(path, torchscript):
    """Python takes the directory before the end record, torch the one it points to."""
    torch.save(dict(a=torch.ones(1)), path)
    plain = path.read_bytes()

    def parts(content):
        end = content.rindex(b"PK\5\6")
        count, size, start = struct.unpack("<HII", content[end + 10 : end + 20])
        return content[:start], content[start : start + size], count

    (files, directory, count), (more, shown, _) = parts(torchscript), parts(plain)
    size = max(len(directory), len(shown)) + 40

    def filled(directory):
        """Lengthened by the comment of its last entry."""
        last = directory.rindex(b"PK\1\2") + 32
        gap = size - len(directory)
        return (
            directory[:last]
            + struct.pack("<H", gap)
            + directory[last + 2 :]
            + b" " * gap
        )

    # Where Python takes offsets from: as if all before its directory were a prefix.
    prefix = size + len(more)
    shift, entry = len(files) + size - prefix, 0
    while (entry := shown.find(b"PK\1\2", entry)) >= 0:
        (offset,) = struct.unpack("<I", shown[entry + 42 : entry + 46])
        moved = struct.pack("<I", offset + shift)
        shown = shown[: entry + 42] + moved + shown[entry + 46 :]
        entry += 46
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, count, count, size, len(files), 0)
    path.write_bytes(files + filled(directory) + more + filled(shown) + end)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert not any("constants" in name for name in archive.namelist())
    assert "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records()
    with pytest.raises(ValueError, match=r"cannot .*(map_location|TorchScript)"):
        load_file(path)


# ------------------------------------------------------------- damaged files


def write_tensor(path, size, stride, offset=0, key="0", numel=4):
    """A checkpoint with one tensor of a storage of four numbers, written by hand."""
    values = (key, "cpu", numel), (offset, size, stride, False)
    key, numbers = (b"".join(pickle.dumps(x, 2)[2:-1] for x in part) for part in values)
    content = (
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n("
        b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
    )
    content += key + b"tQ" + numbers + b"}tRs."
    zip_with(path, content, **{"data/0": np.arange(4, dtype=np.float32).tobytes()})


def test_tensor_written_by_hand(path):
    write_tensor(path, size=(1, 2), stride=(9, 2), offset=1)
    assert load_state_dict_file(path)["a"].tolist() == [[1, 3]]


@pytest.mark.parametrize(
    "description",
    [
        dict(size=(5,), stride=(1,)),
        dict(size=(), stride=(), offset=4),
        dict(size=(2,), stride=(-1,), offset=3),
        dict(size=(1,), stride=(1,), offset=-1),
        # Small, if summed in 64 bits.
        dict(size=(2**32 + 1, 1), stride=(2**32, 1)),
        # Torch 2.5 reads on behind the file's bytes.
        dict(size=(1000,), stride=(1,), numel=1000),
        dict(size=(2,), stride=(1,), numel=2),
        dict(size="ab", stride=(1, 1)),
        dict(size=(1,), stride=(1,), key="1"),
        dict(size=(1,), stride=(1,), key="../version"),
    ],
)
def test_tensors_beyond_what_the_file_holds(path, description):
    write_tensor(path, **description)
    with pytest.raises(ValueError, match=r"x\.pth cannot be read as plain weights"):
        load_file(path)


def test_any_flipped_bit_is_seen_or_harmless(path):
    weights = dict(a=torch.arange(20.0), b=torch.ones(3, dtype=torch.int8))
    checkpoint = dict(state_dict=weights, log=HistoryBuffer([0.5], [1]), step=1234567)
    torch.save(checkpoint, path)
    content = path.read_bytes()
    seen = 0
    for position in range(3, len(content), 11):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        path.write_bytes(damaged)
        try:
            state_dict, rest = load_checkpoint_file(path)
        except ValueError:
            seen += 1
            continue
        assert all(torch.equal(state_dict[name], weights[name]) for name in weights)
        assert (rest["step"], rest["log"].mean()) == (1234567, 0.5)
    # The rest are bytes that fill up, and what only other programs read.
    assert seen > 20


@pytest.mark.parametrize("length", [0, 10, 500, -1])
def test_a_cut_file_is_refused(path, length):
    torch.save(dict(a=torch.randn(100)), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r"x\.pth cannot .* it is damaged, or"):
        load_file(path)


@pytest.mark.parametrize("content", [b"# A page\n\nof text", b"PK\x03\x04 broken"])
def test_other_files_are_refused_without_advice_to_unpickle(path, content):
    path.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"x\.pth cannot .* it is damaged, or"
    ) as caught:
        load_file(path)
    assert "weights_only" not in str(caught.value)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------- dataset_meta

OWN = dict(classes=("a", "b"), palette=[[0, 0, 0], [1, 2, 3]])


def test_what_models_need_alone():
    meta = dict(cfg="x", dataset_meta=dict(OWN, label_map=None, ignore_index=255))
    assert plain_dataset_meta(meta) == OWN


@pytest.mark.parametrize("value", [Namespace(), [[0, Namespace()]], None, {}])
def test_other_values_are_left_out(value):
    meta = dict(dataset_meta=dict(OWN, palette=value))
    assert plain_dataset_meta(meta) == dict(classes=OWN["classes"])


@pytest.mark.parametrize("value", [(0, 4095), ["1%", "99%"]])
def test_the_range_of_the_pixels_too(value):
    meta = dict(dataset_meta=dict(OWN, pixel_range=value))
    assert plain_dataset_meta(meta) == dict(OWN, pixel_range=value)


@pytest.mark.parametrize("value", [None, (1, 0), "rm -r", [Namespace(), 1]])
def test_what_is_no_range_is_left_out(value):
    meta = dict(dataset_meta=dict(OWN, pixel_range=value))
    assert plain_dataset_meta(meta) == OWN


@pytest.mark.parametrize("meta", [None, {}, Namespace(), dict(dataset_meta=[1])])
def test_a_checkpoint_without_any_has_none(meta):
    assert plain_dataset_meta(meta) == {}
