"""What this machine and one process on it use, read from the kernel through psutil."""

import time
from dataclasses import dataclass
from pathlib import Path

import psutil

_MB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HostSample:
    """The machine at one moment. ``cpu_percent`` is of all cores; ``boot_s`` counts on through a suspension."""

    cpu_percent: float | None
    memory_used_mb: float
    memory_total_mb: float
    memory_percent: float
    disk_percent: float
    disk_free_mb: float
    load_1m: float
    boot_s: float


@dataclass(frozen=True, slots=True)
class Footprint:
    """What one process holds and has cost, its children not included."""

    handles: int
    threads: int
    cpu_s: float


class HostProbe:
    """Samples the machine without ever waiting. Processor use is that since the look before."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._busy_s, self._total_s = _cpu_times()

    def sample(self) -> HostSample:
        """Look at the machine now; the disk is the one that holds the path."""
        busy_s, total_s = _cpu_times()
        passed_s = total_s - self._total_s
        cpu_percent = 100 * (busy_s - self._busy_s) / passed_s if passed_s > 0 else None
        self._busy_s, self._total_s = busy_s, total_s
        memory, disk = psutil.virtual_memory(), psutil.disk_usage(self._path)
        return HostSample(
            cpu_percent=None if cpu_percent is None else round(min(100.0, max(0.0, cpu_percent)), 1),
            memory_used_mb=(memory.total - memory.available) / _MB,
            memory_total_mb=memory.total / _MB,
            memory_percent=memory.percent,
            disk_percent=disk.percent,
            disk_free_mb=disk.free / 1_000_000,  # as disks are sold, and as df -H says
            load_1m=psutil.getloadavg()[0],
            boot_s=boot_s(),
        )


def disk_percent(path: Path) -> float:
    """How full the disk is that holds the path, for those who are not its superuser."""
    return float(psutil.disk_usage(str(path)).percent)


def boot_s() -> float:
    """Seconds since the machine was started: a clock that nobody can set."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """Which run of the machine this is: monotonic times of another one mean nothing now."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        return f"{psutil.boot_time():.0f}"


def memory_mb(pid: int) -> float | None:
    """The memory that would come free without this process and its children, or None when it has ended.

    This is the proportional set size (a page shared by three processes counts a third for each) wherever the kernel
    tells it; else the unique, else the resident size.
    """
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    sizes = [_bytes(member) for member in family]
    if not sizes[0]:  # dead and not yet collected by its parent: it holds nothing
        return None
    return sum(size for size in sizes if size is not None) / _MB


def footprint(pid: int) -> Footprint | None:
    """Open handles, threads and what it has cost, or None when the process has ended or belongs to somebody else."""
    try:
        process = psutil.Process(pid)
        spent = process.cpu_times()
        return Footprint(process.num_fds(), process.num_threads(), spent.user + spent.system)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def _bytes(process: psutil.Process) -> int | None:
    try:
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.uss)
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        pass
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return None


def _cpu_times() -> tuple[float, float]:
    """Seconds that all cores were busy, and seconds that they were there."""
    times = psutil.cpu_times()._asdict()
    # Linux counts a guest's time twice; waiting for a disk is idle.
    total_s = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return total_s - times["idle"] - times.get("iowait", 0.0), total_s
