"""`<home>/runs/<run_id>.json`, the run file: what one run did, bounded in size and in number."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from tap_saas.errors import ConfigError
from tap_saas.report import Run
from tap_saas.runs.series import Series

log = logging.getLogger(__name__)
KEPT = 100
"""So many runs are kept that asked the API, and as many that did not: drains, every few seconds."""
SIGNALLED = 128  # and the number of the signal that stopped it, as shells have it
STALE_S = 60.0  # a draft is renamed at once: one this old was left by a kill


class Rate(msgspec.Struct, frozen=True, kw_only=True):
    """A limit as it is stated: `requests` in any `per_s` seconds, of which `allowed` are ours."""

    requests: int
    per_s: float
    allowed: float


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """A budget and what the run has spent of it; `series` goes with `RunFile.series.t`.

    `buckets` is how many values of its `key` there were: the limits hold for each of them.
    """

    name: str
    limits: list[Rate] = []
    concurrent: int | None = None
    requests: int = 0
    buckets: int = 1
    series: list[int] = []


class StreamRun(Run, kw_only=True):
    """A stream's row of `_runs`, its rejects by error type, and how old its watermark is."""

    rejects: dict[str, int] = msgspec.field(default_factory=dict)
    lag_s: float | None = None


class RunFile(msgspec.Struct, frozen=True, kw_only=True):
    """One run as it was at `written_at`; `exit` is null until it has ended.

    `incomplete` is the limit that ended it early, `failures` the lines that say what went wrong.
    `waited_s` is by cause, of all threads together. `statuses` counts answers by HTTP status.
    """

    run_id: str
    connector: str
    started_at: datetime
    written_at: datetime
    duration_s: float
    exit: int | None = None
    incomplete: str | None = None
    failures: list[str] = []
    rows_ingested: int
    rows_rejected: int
    error_rate: float
    requests: int
    retries: int
    waited_s: dict[str, float]
    rejects: dict[str, int]
    statuses: dict[str, int]
    budgets: list[Budget]
    streams: list[StreamRun]
    series: Series

    @property
    def outcome(self) -> str:
        """How it ended, in a word."""
        if self.exit is None:
            return "killed or running"
        if self.exit >= SIGNALLED:
            return "stopped"
        if self.failures or (self.exit and self.incomplete is None):
            return "failed"
        return "ok" if self.incomplete is None else "incomplete"

    @property
    def waited(self) -> float:
        """Seconds that its threads have waited, together."""
        return sum(self.waited_s.values())


class _Counts(msgspec.Struct, frozen=True):
    """What of a run file says which kind of run it was."""

    requests: int
    rows_ingested: int
    rows_rejected: int
    exit: int | None = None

    @property
    def kind(self) -> str:
        """`pull`, `drain`, or `idle` for one that ended well and had nothing to do."""
        if self.requests:
            return "pull"
        is_idle = self.exit == 0 and not self.rows_ingested and not self.rows_rejected
        return "idle" if is_idle else "drain"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RunFile).decode
_decode_counts = msgspec.json.Decoder(_Counts).decode


class RunFiles:
    """The run files of one home; each is replaced as a whole, readers never see half of one."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "runs"

    def write(self, run: RunFile) -> None:
        """Put the run's file in place of the one before it.

        Raises:
            OSError: it cannot be written; the one before it is still there.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.folder / f"{run.run_id}.tmp"
        try:
            file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(file, "wb") as out:  # noqa: PTH123 - a descriptor with its mode
                out.write(_encode(run))
            draft.replace(self._path(run.run_id))
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise

    def prune(self) -> None:
        """Remove all but the newest files of each kind, and drafts that a killed run has left.

        Of runs that had nothing to do the newest alone stays.
        """
        with contextlib.suppress(OSError):
            self._prune(self._newest())
            for draft in self.folder.glob("*.tmp"):
                if time.time() - draft.stat().st_mtime > STALE_S:
                    draft.unlink(missing_ok=True)

    def _prune(self, newest: list[Path]) -> None:
        seen: Counter[str] = Counter()
        for path in newest:
            try:
                kind = _decode_counts(path.read_bytes()).kind
            except (OSError, msgspec.DecodeError):
                kind = "pull"
            seen[kind] += 1
            if seen[kind] > (1 if kind == "idle" else KEPT):
                path.unlink(missing_ok=True)

    def __iter__(self) -> Iterator[RunFile]:
        """All runs, the newest first; a file that cannot be read is told and left out."""
        found = [run for path in self._newest() if (run := self._read(path)) is not None]
        return iter(sorted(found, key=lambda run: run.started_at, reverse=True))

    def find(self, name: str | None = None) -> RunFile:
        """The run with this id, or with the only id that begins so; the newest for None.

        Raises:
            ConfigError: there is none, or more than one.
        """
        runs = list(self)
        found = [run for run in runs if name is None or run.run_id.startswith(name)]
        if not found:
            what = "there are no runs yet" if name is None else f"there is no run {name}"
            raise ConfigError(what, where=str(self.folder), do="see `saasctl runs`")
        if name is not None and len(found) > 1:
            raise ConfigError(
                f"{len(found)} runs begin with {name}",
                where=str(self.folder),
                do="write more of it",
            )
        return found[0]

    def _path(self, run_id: str) -> Path:
        return self.folder / f"{run_id}.json"

    def _newest(self) -> list[Path]:
        files = []
        for path in self.folder.glob("*.json"):
            with contextlib.suppress(FileNotFoundError):
                files.append((path.stat().st_mtime, path.name, path))
        return [path for _, _, path in sorted(files, reverse=True)]

    def _read(self, path: Path) -> RunFile | None:
        try:
            return _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("%s: not a run file: %s; remove it", path, error)
            return None
