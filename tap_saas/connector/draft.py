"""A connector while it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tap_saas.connector.mistake import Findings
from tap_saas.connector.model import Connector, Setting, Stream


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A connector as far as it could be read.

    `names` are all its streams, `streams` those that could be read and are switched on, `used` the
    names of settings that appear anywhere.
    """

    connector: Connector
    streams: dict[str, Stream]
    names: tuple[str, ...]
    off: frozenset[str]
    used: frozenset[str]
    values: Mapping[str, Any]
    samples: frozenset[str]
    findings: Findings

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What a user gives."""
        return self.connector.settings
