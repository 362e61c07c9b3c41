"""A run of `tap | target | saver` in which any of the three may be killed, and what is left."""

from __future__ import annotations

import contextlib
import random
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness import CUT, Child
from singer_output import SECRETS

PIPE = ("tap", "target", "saver")
_TRACE = re.compile(r"tap-(saas|shop) .*Traceback|internal error")
FINE = {0, 4, 5, 9}
"""How a tap may end that nobody killed: well, refused (a fault), failed (a fault), target gone."""


@dataclass(frozen=True)
class Strike:
    """A signal for one process: once so many bytes have passed, or so long after the start."""

    who: str
    number: signal.Signals
    after_s: float
    at: int | None = None

    @property
    def is_hard(self) -> bool:
        """True for SIGKILL."""
        return self.number == signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a run ended: exit codes and stderr by process, what left the tap, who was killed."""

    codes: Mapping[str, int]
    told: Mapping[str, str]
    out: bytes
    killed: Mapping[tuple[str, str], int]
    lasted_s: float

    @property
    def is_whole(self) -> bool:
        """True where all ended well."""
        return not any(self.codes.values())

    def problems(self) -> list[str]:
        """What must not be, whoever was killed."""
        struck = {who for who, _ in self.killed}
        is_cut = ("tap", "SIGKILL") in self.killed  # what is left of a line is no JSON
        excused = {
            "tap": "tap" in struck or self.codes.get("tap", 0) in FINE,
            "target": is_cut or bool(struck & {"target", "saver"}),
            "saver": bool(struck & {"target", "saver"}),
            # Meltano fails where the tap does.
            "meltano": True,
        }
        found = [
            f"{who} ended with {code}"
            for who, code in self.codes.items()
            if code and not excused[who]
        ]
        told = "".join(self.told.values())
        if _TRACE.search(told):
            found.append("the tap wrote a traceback")
        if any(secret in told or secret.encode() in self.out for secret in SECRETS):
            found.append("a secret has left")
        return found


@dataclass
class Usual:
    """How long an undisturbed run takes and how much it writes, of the last ones."""

    seconds: float = 4.0
    size: int = 60_000

    def learn(self, ended: Ended) -> None:
        if ended.is_whole:
            self.seconds = (self.seconds + ended.lasted_s) / 2
            self.size = (self.size + len(ended.out)) // 2


def plan(chance: random.Random, usual: Usual) -> list[Strike]:
    """Some strikes; one time in three all three at once, as when a machine dies."""
    after_s = chance.uniform(0.2, usual.seconds)
    if chance.random() < 0.33:
        return [Strike(who, signal.SIGKILL, after_s) for who in PIPE]
    strikes = []
    for who in chance.sample(PIPE, chance.choice((1, 2, 2))):
        number = signal.SIGKILL if chance.random() < 0.75 else signal.SIGTERM
        at = None
        if who != "saver" and chance.random() < 0.5:
            at = chance.randrange(1, usual.size)
        strikes.append(Strike(who, number, chance.uniform(0.2, usual.seconds), at))
    return strikes


@dataclass
class Run:
    """Three processes under fire; `begin` them in the order of the pipe, then `end`."""

    processes: Mapping[str, Child]
    strikes: Sequence[Strike]
    killed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def end(self) -> Ended:
        """Let bytes pass, strike, wait for all."""
        began = time.monotonic()
        timers = [
            threading.Timer(strike.after_s, self._strike, (strike,))
            for strike in self.strikes
            if strike.at is None
        ]
        for timer in timers:
            timer.start()
        out = self._pump()
        # Their ends, in the order in which each one's input ends.
        codes = {who: self.processes[who].wait() for who in PIPE}
        for timer in timers:
            timer.cancel()
            timer.join()
        told = {who: self.processes[who].told() for who in PIPE}
        return Ended(codes, told, bytes(out), self.killed, time.monotonic() - began)

    def _pump(self) -> bytearray:
        """What has passed from the tap to the target, until either is gone."""
        tap, target = self.processes["tap"], self.processes["target"]
        with contextlib.closing(tap.stdout):
            return self._pass_on(tap, target)

    def _pass_on(self, tap: Child, target: Child) -> bytearray:
        due = sorted((s for s in self.strikes if s.at is not None), key=lambda s: s.at or 0)
        passed = bytearray()
        with contextlib.suppress(BrokenPipeError), target.stdin as pipe:
            while piece := tap.stdout.read1(CUT):  # type: ignore[attr-defined]
                while due and len(passed) + len(piece) >= (due[0].at or 0):
                    strike = due.pop(0)
                    head = piece[: max((strike.at or 0) - len(passed), 0)]
                    pipe.write(head)
                    pipe.flush()
                    passed += head
                    piece = piece[len(head) :]
                    if self._strike(strike) and strike.who == "tap" and strike.is_hard:
                        return passed
                pipe.write(piece)
                pipe.flush()
                passed += piece
        return passed

    def _strike(self, strike: Strike) -> bool:
        """Whether there was a process to send the signal to."""
        process = self.processes[strike.who]
        if process.is_running:
            process.send(strike.number)
            self.killed[strike.who, strike.number.name] += 1
            return True
        return False
