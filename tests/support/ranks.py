"""Copies of this process: the ranks of a group, or a tool by itself."""

import contextlib
import datetime
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import torch
import torch.distributed as dist
from mmseg.utils import register_all_modules
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from tests.support.free_port import free_port
from tests.support.runs import own_globals, run_tool

# Imports take longer than what the processes do: they are there in a copy of this
# process, and where that has a GPU, which no copy can use, in one that imports for all.
_METHOD = "forkserver" if torch.cuda.is_available() else "fork"
multiprocessing.set_forkserver_preload(["mmseg_fsr"])


def run_ranks(
    work: Callable, num_ranks: int, *arguments: Any, device: str = "cpu"
) -> list:
    """What ``work(rank, *arguments)`` returns in each of that many processes.

    It is a function of a module; what it returns are tensors, numbers and names, in
    lists and dicts. The group's backend is gloo, with ``device="cuda"`` NCCL.
    """
    with tempfile.TemporaryDirectory() as folder:
        _start(_run, num_ranks, work, num_ranks, free_port(), folder, arguments, device)
        return [
            torch.load(
                _result_file(folder, rank), map_location="cpu", weights_only=True
            )
            for rank in range(num_ranks)
        ]


def run_tool_in_ranks(
    tool: Path, *arguments: object, num_ranks: int = 2, returncode: int = 0
) -> str:
    """Runs a tool in each process of a group, on the CPU, as torchrun would.

    Args:
        tool: The script.
        *arguments: Its command line but for ``--launcher``.
        num_ranks: Number of processes. Defaults to 2.
        returncode: Exit code of the first process that ends with another than 0: 1
            for an exception, a signal's negative number. Defaults to 0, none does.

    Returns:
        What they printed.
    """
    group = dict(WORLD_SIZE=num_ranks, MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
    argv = (tool, *arguments, "--launcher", "pytorch")
    return _printed(num_ranks, group, argv, returncode)


def run_tool_apart(tool: Path, *arguments: object, returncode: int = 0) -> str:
    """Runs a tool in a process, and a group of processes, of its own.

    Args:
        tool: The script.
        *arguments: Its command line.
        returncode: Its exit code, of a signal the negative number. Defaults to 0.

    Returns:
        What it printed.
    """
    return _printed(1, {}, (tool, *arguments), returncode)


def start_tool(output: Path, tool: Path, *arguments: object) -> BaseProcess:
    """Starts such a process, which appends what it prints to a file."""
    process = multiprocessing.get_context(_METHOD).Process(
        target=_run_tool, args=(0, {}, str(output), (tool, *arguments))
    )
    process.start()
    return process


def _printed(
    num_ranks: int, group: dict, argv: tuple[object, ...], returncode: int
) -> str:
    with tempfile.NamedTemporaryFile("r") as output:
        ended, error = 0, ""
        try:
            _start(_run_tool, num_ranks, group, output.name, argv)
        except ProcessExitedException as exited:
            ended = exited.exit_code
        except ProcessRaisedException as raised:
            ended, error = 1, str(raised)
        printed = output.read() + error
        assert ended == returncode, printed[-4000:]
        return printed


def _start(target: Callable, num_ranks: int, *arguments: Any) -> None:
    """Waits for processes of that many ranks; the end of one with an error ends all."""
    torch.multiprocessing.start_processes(
        target, arguments, nprocs=num_ranks, start_method=_METHOD
    )


def _prepare() -> None:
    torch.set_num_threads(1)
    # Its threads are in no copy.
    cv2.setNumThreads(0)
    register_all_modules(init_default_scope=True)


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
    _prepare()
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
    with own_globals():
        torch.save(work(rank, *arguments), _result_file(folder, rank))
    dist.destroy_process_group()


def _run_tool(rank: int, group: dict, output: str, argv: tuple[object, ...]) -> None:
    _prepare()
    os.setpgrp()
    ranks = dict(RANK=rank, LOCAL_RANK=rank) if group else {}
    environment = dict(**group, **ranks, CUDA_VISIBLE_DEVICES="")
    with (
        open(output, "a", buffering=1) as file,
        mock.patch.dict(os.environ, {k: str(v) for k, v in environment.items()}),
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
    ):
        try:
            run_tool(*argv)
        except SystemExit as ended:
            if not isinstance(ended.code, str):
                raise
            # As the interpreter's end does.
            print(ended.code, file=file)
            sys.exit(1)
