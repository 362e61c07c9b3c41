"""A bounded window of key -> version: an older version never follows a newer one out of the tap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Newest:
    """Remembers the newest version of at least the last `size` keys, in two generations of that
    size.

    A target writes the LAST record of a batch, so the window must be at least the target's batch.
    """

    def __init__(self, size: int = 50_000) -> None:
        self._size = size
        self._young: dict[Any, Any] = {}
        self._old: dict[Any, Any] = {}

    def is_stale(self, key: Any, version: Any) -> bool:
        """True where a newer version of the key has been seen; else the version is remembered.

        `None` is older than every version. An equal version is not stale: the later record wins.
        """
        young = self._young
        seen = young.get(key, _UNSEEN)
        if seen is _UNSEEN:
            seen = self._old.get(key, _UNSEEN)
            if len(young) >= self._size:
                self._old, self._young = young, {}
                young = self._young
        if seen is _UNSEEN or seen is None or (version is not None and version >= seen):
            young[key] = version
            return False
        young[key] = seen
        return True

    def keep(self, keys: Sequence[Any], versions: Sequence[Any]) -> list[bool] | None:
        """For each record of a page, in order, whether it is not stale; None where none is.

        Keys that are new to the window, as they are in most pages, are not looked at one by one.
        """
        if self._young.keys().isdisjoint(keys) and self._old.keys().isdisjoint(keys):
            page = dict(zip(keys, versions, strict=True))
            if len(page) == len(keys):
                if len(self._young) >= self._size:
                    self._old, self._young = self._young, {}
                self._young.update(page)
                return None
        keep = [not self.is_stale(k, v) for k, v in zip(keys, versions, strict=True)]
        return None if all(keep) else keep


_UNSEEN = object()
