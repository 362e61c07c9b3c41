"""Prints peak memory and the largest STATE of a run, by how much there is to read.

PYTHONPATH=tests python tests/bench/footprint.py [--records 1000000] [--parents 100000]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from footprints import CHILDREN, RECORDS, Footprint, Watched, large_api

BOOKMARKS = 5_000  # so many partitions may have one of their own (`max_partitions`)
SLOW_S = 10.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--parents", type=int, default=100_000)
    options = parser.parse_args()
    print(f"{'what':28} {'n':>9} {'records':>9} {'peak MB':>8} {'largest STATE':>14} {'s':>7}")
    with tempfile.TemporaryDirectory() as folder:
        for row in rows(options, Path(folder)):
            print(row, flush=True)


def rows(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """The lines of the table."""
    for what, streams in RECORDS.items():
        for n in (10_000, options.records):
            with large_api(records=n) as (_, url):
                watched = Watched(folder / f"{what}-{n}", url, streams, stream="records")
                yield told(what, n, watched.end())
    for what, streams in CHILDREN.items():
        most = BOOKMARKS if what.endswith("each") else options.parents
        for n in (100, most):
            with large_api(parents=n) as (_, url):
                watched = Watched(folder / f"{what}-{n}", url, streams, stream="children")
                yield told(what, n, watched.end())
    for what, streams in RECORDS.items():
        with large_api(records=options.records) as (api, url):
            watched = Watched(folder / f"{what}-slow", url, streams, stream="records")
            lines = watched.lines()
            next(lines)
            time.sleep(SLOW_S)
            yield (
                f"{what + ', target stalls':37} {watched.peak_kb / 1024:>18.0f} MB, "
                f"{api.asked['records']} pages asked for in {SLOW_S:.0f} s"
            )
            watched.kill()


def told(what: str, n: int, took: Footprint) -> str:
    """A line of the table."""
    return (
        f"{what:28} {n:>9,} {took.records:>9,} {took.peak_kb / 1024:>8.1f} {took.state:>12,} B "
        f"{took.lasted_s:>7.1f}"
    )


if __name__ == "__main__":
    main()
