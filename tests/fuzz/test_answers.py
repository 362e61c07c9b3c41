"""Whatever an API answers: a known code, one line that says why, in bounded time and memory."""

from __future__ import annotations

import contextlib
import gzip
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from answers import BODIES, GOOD, HEADED, SLOW, WIRE
from harness import start
from hostile_api import Asked, Hostile, Raw, answer
from hostile_shop import SECRETS, Shop, connector, right
from hypothesis import given
from hypothesis import strategies as st
from in_process import assert_honest
from mutants import TIMES, few, mutants

PLACES: dict[str, tuple[tuple[str, ...], bool]] = {
    "/orders": (("orders",), False),
    "/orders?": (("orders",), False),
    "/orders/gone": (("orders",), False),
    "/orders/1/lines": (("orders", "lines"), False),
    "/links": (("links",), False),
    "/links?": (("links",), False),
    "/token": (("links",), False),
    "/headed": (("headed",), False),
    "/headed?": (("headed",), False),
    "/offsets": (("offsets",), False),
    "/regions/eu": (("regions",), False),
    "/windows": (("windows",), False),
    "/log": (("orders",), True),
    "/orders/4": (("orders",), True),
}
"""Where an answer is wrong (`?` is a page behind the first): the streams that ask there."""
LONGEST_S = 10.0
CASES = {**{name: answer(body) for name, body in BODIES.items()}, **HEADED, **WIRE}


def wrong_at(place: str, wrong: Raw) -> Any:
    """The shop's API with one wrong answer."""
    path, is_behind, _ = place.partition("?")

    def answered(asked: Asked) -> Raw:
        behind = "cursor=" in asked.target or "page=2" in asked.target
        return wrong if asked.path == path and (behind or not is_behind) else right(asked)

    return answered


def run(api: Hostile, folder: str, place: str, wrong: Raw) -> None:
    """A run whose answer there is this one."""
    streams, events = PLACES[place]
    shop = Shop(Path(folder), api.url, connector(*streams, events=events))
    api.answer = wrong_at(place, wrong)
    began = time.monotonic()
    try:
        done = shop.tap()
    finally:
        api.answer = right
    assert time.monotonic() - began < LONGEST_S
    assert_honest(done, *SECRETS)
    done.assert_singer()


@pytest.mark.parametrize("place", PLACES)
def test_a_wrong_answer(place: str, api: Hostile, place_for: Path) -> None:
    """Each case in one of the places, so that all together take seconds; with TIMES in all."""
    turn, failed = list(PLACES).index(place), []
    for number, (name, wrong) in enumerate(CASES.items()):
        is_token = name.startswith("token") and place == "/token"
        if is_token or TIMES > 1 or (number + turn) % len(PLACES) == 0:
            with tempfile.TemporaryDirectory(dir=place_for) as folder:
                try:
                    run(api, folder, place, wrong)
                except AssertionError as error:
                    failed.append(f"{name} at {place}: {str(error)[-500:]}")
    assert failed == []


@pytest.mark.parametrize("case", SLOW)
def test_an_answer_that_never_comes(case: str, api: Hostile, tmp_path: Path) -> None:
    run(api, str(tmp_path), "/links", SLOW[case])


PAGE = json.loads(GOOD) | {"links": {"next": "/links?page=2"}, "more": True, "total": 3}


@few(100)
@given(
    page=mutants([PAGE], most=4),
    place=st.sampled_from(list(PLACES)),
    status=st.sampled_from([200, 200, 200, 200, 201, 400, 401, 404, 410, 418, 419, 500]),
)
def test_a_page_with_changes(
    page: Any, place: str, status: int, api: Hostile, place_for: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=place_for) as folder:
        run(api, folder, place, answer(json.dumps(page).encode(), status))


@few(60)
@given(at=st.integers(0, 5_000), junk=st.binary(max_size=40), place=st.sampled_from(list(PLACES)))
def test_bytes_with_changes(
    at: int, junk: bytes, place: str, api: Hostile, place_for: Path
) -> None:
    whole = answer(GOOD).content
    at %= len(whole)
    with tempfile.TemporaryDirectory(dir=place_for) as folder:
        run(api, folder, place, Raw(whole[:at] + junk + whole[at + len(junk) :]))


def test_a_bomb_takes_no_memory(api: Hostile, tmp_path: Path) -> None:
    shop = Shop(tmp_path, api.url, connector("offsets"))
    bomb = answer(gzip.compress(b" " * 300_000_000), 200, {"Content-Encoding": "gzip"})
    peaks = []
    for body in (answer(GOOD), bomb):
        api.answer = wrong_at("/offsets", body)
        tap, peak = start(shop.command(), shop.environment), 0
        while tap.is_running:
            with contextlib.suppress(OSError, IndexError, ValueError):  # it has just ended
                peak = max(peak, tap.peak_kb())
            time.sleep(0.02)
        peaks.append(peak)
        code, told = tap.wait(), tap.told()
        assert code in {0, 5}, told
        assert "Traceback" not in told
    api.answer = right
    assert peaks[1] - peaks[0] < 50_000, peaks
