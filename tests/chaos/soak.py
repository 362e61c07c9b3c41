"""`make soak`: the long form, Meltano too; SOAK_KILLS and SOAK_MINUTES say how long."""

from __future__ import annotations

import os
import random

from chaos import Chaos


def test_everything_is_equal_after_a_long_chaos(database: str) -> None:
    kills = int(os.environ.get("SOAK_KILLS", "300"))
    minutes = float(os.environ.get("SOAK_MINUTES", "60"))
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    chaos = Chaos(seed, database, meltano=True)
    print(f"seed {seed}, at least {kills} kills, at most {minutes:g} minutes", flush=True)
    tally = chaos.run(kills, minutes * 60)
    print(*tally.lines(), sep="\n")
    assert not tally.problems, f"see {chaos.evidence.folder}, CHAOS_SEED={seed}"
