"""The machine that measures."""

import platform
from pathlib import Path


def processor_name() -> str:
    """Name of the processor, of Linux's own list if there is one."""
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
