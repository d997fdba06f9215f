"""What a bench says while it runs, and what it leaves under bench/results."""

from demo.tools import ROOT


class Report:
    """Lines for the screen, kept to be written as a result."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def say(self, line: str) -> None:
        self._lines.append(line)
        print(line, flush=True)

    def write(self, name: str) -> None:
        """Into bench/results/NAME.txt."""
        result = ROOT / "bench" / "results" / f"{name}.txt"
        result.write_text("\n".join(self._lines) + "\n", encoding="utf-8")
