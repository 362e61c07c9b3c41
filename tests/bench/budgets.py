"""Prints how well a budget is kept, used and shared by 3 processes of 4 threads each.

python tests/bench/budgets.py [--seconds 15]: judged by when requests arrive at a server, on SQLite
and on PostgreSQL (TAP_SAAS_TEST_DATABASE_URL, else an embedded one).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "client")]

from fleet import PROCESSES, Fleet, Limit, Place, judge  # noqa: E402 - found by the line above
from postgres_server import postgres_server  # noqa: E402 - as above

CASES = {
    "100 in 1 s": [Limit(100, "1s")],
    "20 in 1 s, 60 in 5 s": [Limit(20, "1s"), Limit(60, "5s")],
    "100 in 1 s, 50,000 in 1 d": [Limit(100, "1s"), Limit(50_000, "1d")],
}


@contextmanager
def fleet() -> Iterator[Fleet]:
    """The processes, until they are not needed any more."""
    started = Fleet()
    yield started
    started.close()


def line(*columns: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, columns))} |"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    seconds = parser.parse_args().seconds
    shares = [f"process {number + 1}" for number in range(PROCESSES)]
    titles = ["store", "budget", "processes", "most in any window", "used", *shares]
    print(line(*titles))
    print(line(*["---"] * len(titles)))
    with postgres_server() as url, fleet() as processes, tempfile.TemporaryDirectory() as folder:
        for number, (name, limits) in enumerate(CASES.items()):
            home = Path(folder, str(number))
            for store, place in {"SQLite": Place(home), "PostgreSQL": Place(home, url)}.items():
                for is_busy in (False, True):
                    raw = {name: {"limits": [limit.raw for limit in limits]}}
                    came = processes.run(place, raw, seconds, is_busy=is_busy)
                    # The day is not spent in this time: the second is what holds.
                    tight = limits[-1] if limits[-1].per != "1d" else limits[0]
                    seen = judge(came, limits, tight)
                    work = "also reckon" if is_busy else "only ask"
                    most = ", ".join(map(str, seen.most))
                    parts = [f"{share:.1%}" for share in seen.shares]
                    print(line(store, name, work, most, f"{seen.used:.1%}", *parts), flush=True)


if __name__ == "__main__":
    main()
