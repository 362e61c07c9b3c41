"""How many events a second a receiver stores durably: `python tests/bench/receiver.py`.

64 clients on loopback send events of 1 KiB, each with an id of its own, signed with HMAC-SHA256.
All receivers run the same code; the second commits every event by itself, the third stores nothing,
which shows what the rest costs. Rows are counted in the queue afterwards. Needs `wrk` on the PATH
(Debian: apt-get install wrk).
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "webhooks"))

from receivers import NAME, Receiver, receiving, signed

from tap_saas.queues import open_queue

WAYS = {
    "group commit": "",
    "one commit an event": "committer.MAX_BATCH = 1",
    "verified, not stored": "committer.Committer.submit = lambda self, it, done: done('stored')",
}
_LUA = """
local n, thread = 0, tostring(os.time()) .. tostring(math.random(1, 1000000000))
function request()
  n = n + 1
  wrk.headers["X-Event-Id"] = thread .. "-" .. n
  return wrk.format("POST", "/webhooks/%s")
end
function init(args)
  wrk.body = args[1]
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["X-Signature"] = args[2]
end
function done(summary, latency, requests)
  io.write(string.format("P50 %%d P99 %%d MAX %%d BAD %%d\\n", latency:percentile(50),
    latency:percentile(99), latency.max, summary.errors.status + summary.errors.timeout))
end
"""


class Measured(NamedTuple):
    """One run; times in milliseconds, `rows` in the queue afterwards."""

    per_s: float
    p50: float
    p99: float
    bad: int
    answered: int
    rows: int


def load(receiver: Receiver, body: str, clients: int, seconds: int) -> Measured:
    """Send for some seconds, then count."""
    script = receiver.folder / "load.lua"
    script.write_text(_LUA % NAME)
    url = "http://{}:{}".format(*receiver.address)
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(script), url, "--"]
    done = subprocess.run(
        [*command, body, signed(body.encode())], capture_output=True, text=True, check=True
    )
    rate = re.search(r"Requests/sec:\s+([\d.]+)", done.stdout)
    total = re.search(r"(\d+) requests in", done.stdout)
    times = re.search(r"P50 (\d+) P99 (\d+) MAX \d+ BAD (\d+)", done.stdout)
    assert rate is not None, done.stdout
    assert total is not None, done.stdout
    assert times is not None, done.stdout
    receiver.stop()
    p50, p99, bad = (int(text) for text in times.groups())
    per_s = float(rate[1])
    return Measured(per_s, p50 / 1_000, p99 / 1_000, bad, int(total[1]), rows(receiver))


def rows(receiver: Receiver) -> int:
    """How many events the queue has."""
    queue = open_queue(receiver.folder / "queue.db", write=False)
    with contextlib.closing(queue):
        return sum(source.events for source in queue.status().sources)


def main() -> None:
    """Measure all ways, one after the other, `--rounds` times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--bytes", type=int, default=1_024)
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed; apt-get install wrk")
    frame = '{"type":"order.changed","data":{"id":1},"filling":"%s"}'
    body = frame % ("x" * (given.bytes - len(frame) + 2))
    print(f"{given.clients} clients, {len(body)} bytes, {given.seconds} s a run")
    print(
        f"{'':22}{'events/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'not 2xx':>9}{'answers':>9}{'rows':>9}"
    )
    for _ in range(given.rounds):
        for name, more in WAYS.items():
            with (
                tempfile.TemporaryDirectory() as folder,
                receiving(Path(folder) / "receiver", more=more) as receiver,
            ):
                got = load(receiver, body, given.clients, given.seconds)
            print(
                f"{name:22}{got.per_s:10,.0f}{got.p50:9.1f}{got.p99:9.1f}{got.bad:9,}"
                f"{got.answered:9,}{got.rows:9,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
