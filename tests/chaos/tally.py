"""What a chaos run did, counted, and the folder that keeps what it takes to see why."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from strikes import Ended


class Evidence:
    """The states and outputs of all runs, in a folder that is gone where all was well."""

    def __init__(self, seed: int) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"chaos-{seed}-"))
        self._number = 0

    def keep(self, name: str, state: str, ended: Ended, note: str) -> None:
        """Keep a run: what left the tap, what all said, the state after it."""
        self._number += 1
        begin = f"{self._number:04d}-{name}"
        (self.folder / f"{begin}.state.json").write_text(state)
        told = "\n".join(
            f"== {who}: {ended.codes[who]}\n{text}" for who, text in ended.told.items()
        )
        (self.folder / f"{begin}.log").write_text(f"{note}\n{told}")
        with gzip.open(self.folder / f"{begin}.out.gz", "wb", compresslevel=1) as file:
            file.write(ended.out)

    def close(self, tally: Tally) -> None:
        """Keep the figures beside it, or remove it where all was well."""
        if tally.problems:
            (self.folder / "tally.txt").write_text("\n".join(tally.lines()) + "\n")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)


class Tally:
    """Counts of a chaos run; `problems` is what must not be."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.killed: Counter[tuple[str, str]] = Counter()
        self.codes: Counter[tuple[str, int]] = Counter()
        self.runs: Counter[str] = Counter()
        self.records = 0
        self.rows = 0
        self.faults: Mapping[str, int] = {}
        self.changes: Mapping[str, int] = {}
        self.answered: Mapping[str, int] = {}
        self.problems: list[str] = []
        self._began = time.monotonic()

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return self.killed.total()

    @property
    def lasted_s(self) -> float:
        return time.monotonic() - self._began

    def add(self, name: str, ended: Ended) -> None:
        """Count a run."""
        self.runs[name] += 1
        self.killed.update(ended.killed)
        self.codes.update(ended.codes.items())
        self.records += ended.out.count(b'{"type":"RECORD"')
        self.problems += [f"run {self.runs.total()} ({name}): {one}" for one in ended.problems()]

    def lines(self) -> Iterator[str]:
        """The figures."""
        yield f"seed {self.seed}, {self.lasted_s:.0f} s"
        yield f"{self.runs.total()} runs: {_told(self.runs)}"
        by_victim = {f"{who} {how}": n for (who, how), n in self.killed.items()}
        yield f"{self.kills} kills: {_told(by_victim)}"
        yield f"exit codes: {_told({f'{who} {code}': n for (who, code), n in self.codes.items()})}"
        yield f"answers spoilt: {sum(self.faults.values())}: {_told(self.faults)}"
        yield f"answers by status: {_told(self.answered)}"
        yield f"changes: {_told(self.changes)}"
        yield f"{self.records} records written by the tap, {self.rows} rows compared at the end"
        for problem in self.problems:
            yield f"PROBLEM: {problem}"


def _told(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if n)
