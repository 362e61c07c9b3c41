"""JSON values that are nearly right: some of their members are taken away, swapped or odd."""

from __future__ import annotations

import copy
import os
import random
from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
"""How many times as many examples are tried, at random then: `FUZZ_TIMES=50 pytest tests/fuzz`."""
Place = tuple[str | int, ...]
ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, 10**40, 1.5, 1e300, "", "x", "é" * 50, "9" * 400, "\0",
    "NaN",
    "2025-01-01", "2025-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "30s",
    [], [[]], [None], [1], ["x"], [{}], {}, {"a": 1}, {"context": {}},
    [["2025-01-01T00:00:00Z", "2025-02-01T00:00:00Z"]],
    [{"started_at": "2025-01-01T00:00:00Z"}], [{"started_at": "x"}],
    [{"started_at": "2025-01-01T00:00:00Z", "page_token": [["x"]], "since": 5}],
    [{"started_at": "2025-01-01T00:00:00Z", "window": [1, 2]}],
)  # fmt: skip


def few(examples: int) -> settings:
    """So many examples, the same in every run: each is a whole run of the tap.

    A failure is told as it came, since making it smaller would take minutes.
    """
    return settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


def mutants(
    corpus: Sequence[Any], odd: Sequence[Any] = ODD, most: int = 3
) -> st.SearchStrategy[Any]:
    """Values of the corpus with up to `most` changes."""
    return st.builds(
        lambda value, seed, changes: _changed(value, random.Random(seed), changes, odd),
        st.sampled_from(corpus),
        st.integers(0, 2**32),
        st.integers(1, most),
    )


def _changed(value: Any, chance: random.Random, changes: int, odd: Sequence[Any]) -> Any:
    root = {"": copy.deepcopy(value)}
    for _ in range(changes):
        places = list(_places(root))
        _change(root, chance.choice(places), places, chance, odd)
    return root.get("")


def _places(value: Any, at: Place = ()) -> Iterator[Place]:
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in members:
        yield (*at, key)
        if isinstance(inner, dict | list):
            yield from _places(inner, (*at, key))


def _at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def _change(
    root: Any, place: Place, places: list[Place], chance: random.Random, odd: Sequence[Any]
) -> None:
    around, key = _at(root, place[:-1]), place[-1]
    match chance.randrange(5):
        case 0 if len(place) > 1:
            del around[key]
        case 1:
            around[key] = copy.deepcopy(_at(root, chance.choice(places)))
        case 2 if isinstance(around, dict) and len(place) > 1:
            around[str(chance.choice(places)[-1])] = copy.deepcopy(chance.choice(odd))
        case 3 if isinstance(around, list):
            around.append(copy.deepcopy(chance.choice(odd)))
        case _:
            around[key] = copy.deepcopy(chance.choice(odd))
