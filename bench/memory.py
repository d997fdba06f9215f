"""How much memory a process has."""

from pathlib import Path


def memory(pid: int, name: str) -> float:
    """Megabytes, by a name of proc(5): ``VmRSS`` now, ``VmHWM`` at most so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1000
    raise KeyError(name)
