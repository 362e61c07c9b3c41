"""Prints how many records a second tap-saas writes, beside a plain singer-sdk tap in one run.

python tests/bench/run.py [--records 100000] [--runs 3]: each tap in turn to /dev/null; medians.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent


def timed(command: list[str], log: Path) -> tuple[float, float, int]:
    """Seconds of a whole process, its processor seconds, and its peak memory in MiB."""
    begun = time.monotonic()
    with log.open("w") as errors:
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        _, status, usage = _wait(child.pid)
    if status:
        sys.exit(f"{command[1]} failed: {log.read_text()[-2000:]}")
    cpu = usage.ru_utime + usage.ru_stime
    return time.monotonic() - begun, cpu, usage.ru_maxrss // 1024


def _wait(pid: int) -> tuple[int, int, resource.struct_rusage]:
    import os

    return os.wait4(pid, 0)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only-ours", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench(options, Path(folder))


def bench(options: argparse.Namespace, folder: Path) -> None:
    """Both taps in turn, over one server."""
    server = subprocess.Popen(
        [sys.executable, str(HERE / "server.py"), "--records", str(options.records)],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        (folder / "plain.json").write_text(json.dumps({"url": url}))
        (folder / "ours.json").write_text(
            json.dumps(
                {
                    "connector": str(HERE / "orders.yaml"),
                    "settings": {"url": url},
                    "home": str(folder / "home"),
                    "emit_runs": False,
                }
            )
        )
        taps = {
            "tap-saas": [sys.executable, "-m", "tap_saas", "--config", str(folder / "ours.json")],
            "plain singer-sdk tap": [
                sys.executable, str(HERE / "plain_tap.py"), "--config", str(folder / "plain.json"),
            ],
        }  # fmt: skip
        if options.only_ours:
            del taps["plain singer-sdk tap"]
        report(taps, options, folder)
    finally:
        server.terminate()
        server.wait()


def report(taps: dict[str, list[str]], options: argparse.Namespace, folder: Path) -> None:
    """The medians, a line a tap, and the ratio."""
    taken: dict[str, list[float]] = {name: [] for name in taps}
    worked: dict[str, list[float]] = {name: [] for name in taps}
    memory: dict[str, int] = {}
    for _ in range(options.runs):
        for name, command in taps.items():
            seconds, cpu, peak = timed(command, folder / "log")
            taken[name].append(seconds)
            worked[name].append(cpu)
            memory[name] = max(peak, memory.get(name, 0))
    medians = {name: statistics.median(times) for name, times in taken.items()}
    for name, seconds in medians.items():
        rate = options.records / seconds
        cpu = statistics.median(worked[name])
        print(
            f"{name:22} {seconds:7.2f} s {rate:10,.0f} records/s {cpu:7.2f} s cpu "
            f"{memory[name]:6} MiB peak"
        )
    if len(medians) == 2:
        ours, plain = medians.values()
        print(f"ratio {plain / ours:.1f} ({options.records:,} records, {options.runs} runs each)")


if __name__ == "__main__":
    main()
