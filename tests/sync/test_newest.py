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


@given(st.lists(st.lists(st.tuples(st.integers(0, 40), VERSIONS), max_size=8), max_size=12))
def test_a_page_at_once_is_judged_as_one_by_one(pages: list[list[tuple[int, int | None]]]) -> None:
    at_once, singly = Newest(), Newest()
    for page in pages:
        keys, versions = [key for key, _ in page], [version for _, version in page]
        expected = [not singly.is_stale(key, version) for key, version in page]
        assert at_once.keep(keys, versions) == (None if all(expected) else expected)


@given(st.integers(1, 20), st.integers(1, 200), st.integers(1, 7))
def test_pages_at_once_are_bounded_and_covered_too(size: int, keys: int, page: int) -> None:
    newest = Newest(size)
    for first in range(0, keys, page):
        some = range(first, min(first + page, keys))
        assert newest.keep(some, [9] * len(some)) is None
    assert len(newest._young) + len(newest._old) <= 2 * (size + page)
    for key in range(max(0, keys - size), keys):
        assert newest.is_stale(key, 1)


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
