"""Processes of a group, on the CPU or each on a GPU of its own."""

import datetime
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmseg.utils import register_all_modules

from .free_port import free_port

# Imports take longer than what the processes do: one process imports for all.
multiprocessing.set_forkserver_preload(["mmseg_fsr"])


def run_ranks(
    work: Callable, num_ranks: int, *arguments: Any, device: str = "cpu"
) -> list:
    """What ``work(rank, *arguments)`` returns in each of that many processes.

    It is a function of a module; what it returns are tensors, numbers and names, in
    lists and dicts. The group's backend is gloo, with ``device="cuda"`` NCCL.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(
            _run,
            (work, num_ranks, free_port(), folder, arguments, device),
            nprocs=num_ranks,
            start_method="forkserver",
        )
        return [
            torch.load(
                _result_file(folder, rank), map_location="cpu", weights_only=True
            )
            for rank in range(num_ranks)
        ]


def _result_file(folder: str, rank: int) -> Path:
    return Path(folder) / f"{rank}.pt"


def _run(
    rank: int,
    work: Callable,
    num_ranks: int,
    port: int,
    folder: str,
    arguments: tuple,
    device: str,
) -> None:
    torch.set_num_threads(1)
    register_all_modules(init_default_scope=True)
    if device == "cuda":
        torch.cuda.set_device(rank)
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=num_ranks,
        # Processes that make different calls wait for each other.
        timeout=datetime.timedelta(minutes=2),
    )
    torch.save(work(rank, *arguments), _result_file(folder, rank))
    dist.destroy_process_group()
