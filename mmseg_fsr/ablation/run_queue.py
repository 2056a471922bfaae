"""Programs, so many at a time."""

import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

Job = TypeVar("Job")


def run_queue(
    jobs: Iterable[Job],
    places: Iterable[Mapping[str, str]],
    start: Callable[[Job, Mapping[str, str]], subprocess.Popen | None],
    interval: float = 0.5,
) -> Iterator[tuple[Job, int | None, float]]:
    """Runs a program for each job, one at each place at a time.

    Where the caller is interrupted, the programs under way are asked to end (SIGTERM)
    and waited for.

    Args:
        jobs: What to do, in this order.
        places: Variables of the environment for the programs at a place, such as the
            GPU that they see.
        start: Starts the program of a job with the variables of a place; None if it
            may not run now.
        interval: Seconds between two looks at the programs. Defaults to 0.5.

    Yields:
        Job, exit code and seconds of each program that has ended, and of each that
            may not run, whose exit code is None.
    """
    waiting, free = deque(jobs), list(places)
    running: list[tuple[subprocess.Popen, Job, Mapping[str, str], float]] = []
    try:
        while waiting or running:
            while waiting and free:
                job, begun = waiting.popleft(), time.monotonic()
                process = start(job, free[0])
                if process is None:
                    yield job, None, 0.0
                else:
                    running.append((process, job, free.pop(0), begun))
            ended = [entry for entry in running if entry[0].poll() is not None]
            for entry in ended:
                process, job, place, begun = entry
                running.remove(entry)
                free.append(place)
                yield job, process.returncode, time.monotonic() - begun
            if not ended:
                time.sleep(interval)
    finally:
        for process, *_ in running:
            process.terminate()
        for process, *_ in running:
            process.wait()
