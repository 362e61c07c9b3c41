"""The window of newest versions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tap_saas.sync.newest import Newest

VERSIONS = st.one_of(st.none(), st.integers(0, 5))


@given(st.lists(st.tuples(st.integers(0, 3), VERSIONS), max_size=40))
def test_what_is_let_through_last_is_the_newest(records: list[tuple[int, int | None]]) -> None:
    newest = Newest(size=10)
    last: dict[int, int | None] = {}
    for key, version in records:
        if not newest.is_stale(key, version):
            last[key] = version
    order = [(key, -1 if version is None else version) for key, version in records]
    for key, version in last.items():
        assert (-1 if version is None else version) == max(v for k, v in order if k == key)


@given(st.integers(1, 20), st.integers(1, 200))
def test_the_window_is_bounded_and_covers_its_size(size: int, keys: int) -> None:
    newest = Newest(size)
    for key in range(keys):
        newest.is_stale(key, 9)
    assert len(newest._young) + len(newest._old) <= 2 * size
    for key in range(max(0, keys - size), keys):
        assert newest.is_stale(key, 1)


def test_an_equal_version_passes() -> None:
    newest = Newest()
    assert not newest.is_stale("a", 1)
    assert not newest.is_stale("a", 1)
    assert newest.is_stale("a", None)
