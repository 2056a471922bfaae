"""What measured figures depend on."""

import os
import platform
from datetime import date
from types import ModuleType

import torch

from .processor import processor_name


def environment(*packages: ModuleType) -> dict[str, str | int | float]:
    """What a reader must know to compare the figures of a benchmark.

    Args:
        *packages: Imported packages that the figures depend on, beside torch.

    Returns:
        Date, processor, number of CPUs, load of the last minute, threads of torch,
        and the versions of Python, torch and the packages.
    """
    facts = dict(
        date=str(date.today()),
        processor=processor_name(),
        cpus=os.cpu_count(),
        load=round(os.getloadavg()[0], 2),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
    )
    return facts | {
        module.__name__: module.__version__ for module in (torch, *packages)
    }
