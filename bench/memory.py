"""How much memory a process has."""

import ctypes
import gc
import os
from pathlib import Path


def memory(pid: int, name: str) -> float:
    """Megabytes, by a name of proc(5): ``VmRSS`` now, ``VmHWM`` at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1000
    raise KeyError(name)


def in_use() -> float:
    """Megabytes that this process holds now, without those that glibc only keeps for later.

    Large bodies of many sizes leave holes between what lives on, which look like a leak.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return memory(os.getpid(), "VmRSS")
