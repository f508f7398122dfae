"""What a service takes of its machine, over all of its processes, as it is when Prometheus asks.

prometheus_client's own ``process_*`` are those of one process, and are not there with several workers. Here it is the
server, its workers, and whatever they have started: jobs, the batch worker.
"""

from __future__ import annotations

import multiprocessing.process
import os
from collections.abc import Iterator

import psutil
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


def resources(service: str) -> Iterator[Metric]:
    """Give memory, processor time, open files, processes, and when the service was started.

    Memory that processes share is counted for each. Processor time includes processes that have ended, as the system
    adds it to those who started them, so it does not go back.
    """
    server = psutil.Process(_server())
    memory = seconds = files = count = 0.0
    for process in [server, *server.children(recursive=True)]:
        try:
            with process.oneshot():
                resident, spent = process.memory_info().rss, sum(process.cpu_times()[:4])
                opened = process.num_fds()
        except psutil.Error:
            continue  # it has just ended
        memory, seconds, files, count = memory + resident, seconds + spent, files + opened, count + 1
    gauges = {
        "punctual_memory_bytes": ("Resident memory of the service's processes.", memory),
        "punctual_open_files": ("Files and connections that the service's processes hold open.", files),
        "punctual_processes": ("Processes of the service: server, workers, jobs.", count),
        "punctual_start_timestamp_seconds": ("When the service was started, seconds since 1970.", server.create_time()),
    }
    for name, (words, value) in gauges.items():
        family = GaugeMetricFamily(name, words, labels=("service",))
        family.add_metric((service,), value)
        yield family
    spent_by = CounterMetricFamily(
        "punctual_cpu_seconds", "Processor seconds of the service's processes.", labels=("service",)
    )
    spent_by.add_metric((service,), seconds)
    yield spent_by


def _server() -> int:
    """Return the process that started the workers; ourselves where we are no worker."""
    parent = multiprocessing.process.parent_process()
    return os.getpid() if parent is None or parent.pid is None else parent.pid
