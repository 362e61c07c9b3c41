"""P1 and P2 under fire, the short form: kills at random moments while everything changes."""

from __future__ import annotations

import os
import random

from chaos import Chaos

KILLS = 25
MOST_S = 150.0  # a machine that others use too: most often 40 s


def test_everything_is_equal_after_chaos(database: str) -> None:
    seed = int(os.environ.get("CHAOS_SEED") or random.randrange(10**6))
    print(f"seed {seed}")
    chaos = Chaos(seed, database, meltano=False)
    tally = chaos.run(KILLS, MOST_S)
    print(*tally.lines(), sep="\n")
    assert not tally.problems, f"see {chaos.evidence.folder}, CHAOS_SEED={seed}"
