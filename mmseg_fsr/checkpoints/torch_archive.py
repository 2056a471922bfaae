"""The zip format of ``torch.save``, read without running what it holds."""

import sys
import zipfile
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .inert_pickle import InertObject, PersistentId, load_inert

_DTYPES = {
    f"torch.{name}Storage": dtype
    for name, dtype in (
        ("Double", torch.float64),
        ("Float", torch.float32),
        ("Half", torch.float16),
        ("BFloat16", torch.bfloat16),
        ("Long", torch.int64),
        ("Int", torch.int32),
        ("Short", torch.int16),
        ("Char", torch.int8),
        ("Byte", torch.uint8),
        ("Bool", torch.bool),
    )
}


class TorchArchive:
    """A zip file of ``torch.save``: one pickle, and the bytes of each storage.

    ``torch.load`` is not used: under ``weights_only=True`` it refuses the checkpoints
    of training, torch before 2.6 goes on to run archives of TorchScript, and
    before 2.4 it cannot be told which types are harmless.

    Args:
        file: The open file.

    Raises:
        ValueError: If it is another kind of zip file, or of the other byte order.
        Exception: Of any kind, if the file is damaged.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(file)
        self._storages: dict[tuple[str, torch.dtype], Tensor] = {}
        pickles = [
            name
            for name in self._zip.namelist()
            if name.endswith("/data.pkl") and name.count("/") == 1
        ]
        if len(pickles) != 1:
            raise ValueError("it is no zip file of torch.save")
        self._folder = pickles[0].removesuffix("data.pkl")
        # Torch before 2.1 did not write the order.
        order = f"{self._folder}byteorder"
        if order in self._zip.namelist():
            order = self._zip.read(order).decode()
            if order != sys.byteorder:
                raise ValueError(f"its numbers are {order}-endian")

    def objects(self) -> Any:
        """What was saved; see :func:`~mmseg_fsr.utils.inert_pickle.load_inert`."""
        with self._zip.open(f"{self._folder}data.pkl") as file:
            return load_inert(file)

    def tensor(self, description: Any) -> Tensor | None:
        """The tensor that a part of :meth:`objects` stands for.

        Args:
            description: The part.

        Returns:
            The tensor, on the CPU; tensors that shared memory do so again. None for
            anything else.

        Raises:
            ValueError: If it is a tensor, but sparse, quantised, complex or the like,
                or does not lie within its storage.
            Exception: Of any kind, if the file is damaged.
        """
        if not isinstance(description, InertObject):
            return None
        kind = description.qualname
        if kind == "torch._utils._rebuild_parameter":
            return self.tensor(description.args[0])
        if kind == "torch._utils._rebuild_tensor_v2":
            storage, offset, size, stride = description.args[:4]
            flat = self._storage(storage)
            steps = zip(size, stride, strict=True)
            last = offset + sum((n - 1) * step for n, step in steps)
            # Torch looks at the range too, but sums in 64 bits.
            inside = 0 in size or last < len(flat)
            if min((offset, *size, *stride)) < 0 or not inside:
                raise ValueError("a tensor reaches beyond its storage")
            return flat.as_strided(size, stride, offset)
        if kind.startswith(("torch._utils._rebuild", "torch._tensor._rebuild")):
            raise ValueError(f"a tensor made by {kind} is not supported")
        return None

    def _storage(self, pid: PersistentId) -> Tensor:
        """A storage as a flat tensor."""
        _, storage_type, key, *_ = pid.value
        if storage_type.qualname not in _DTYPES:
            raise ValueError(f"a tensor of {storage_type.qualname} is not supported")
        dtype = _DTYPES[storage_type.qualname]
        if (key, dtype) not in self._storages:
            content = bytearray(self._zip.read(f"{self._folder}data/{key}"))
            self._storages[key, dtype] = (
                # An empty buffer is refused.
                torch.frombuffer(content, dtype=dtype)
                if content
                else torch.empty(0, dtype=dtype)
            )
        return self._storages[key, dtype]
