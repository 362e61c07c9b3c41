"""The sources of a receiver with the secrets of now: handshakes bring them while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import datetime

from tap_saas.errors import StateError
from tap_saas.redact import Redactor
from tap_saas.webhooks.secret_store import Held, SecretStore, Stamp
from tap_saas.webhooks.source import Source

log = logging.getLogger(__name__)


class Roster:
    """Sources by name; the file of secrets is read again whenever it was changed.

    What it holds is masked from then on. For one event loop. Raises StateError for a file that
    cannot be read at the start; later it is told in the log, and what was known stays.
    """

    def __init__(
        self, sources: Mapping[str, Source], store: SecretStore, redactor: Redactor
    ) -> None:
        self._bare = {name: one for name, one in sources.items() if one.form.brought}
        self._store = store
        self._redactor = redactor
        self._sources = dict(sources)
        self._held: dict[str, Held] = {}
        self._stamp: Stamp | None = None
        if self._bare:
            self._stamp = store.stamp()
            self._set(store.read())

    @property
    def sources(self) -> Mapping[str, Source]:
        """All, with the secrets that they had when one of them was looked for."""
        return self._sources

    def find(self, name: str) -> Source:
        """A source, with the secrets that it has at this moment."""
        if name in self._bare:
            self._look()
        return self._sources[name]

    def is_open(self, name: str, now: datetime) -> bool:
        """Whether a secret of this source was expected when it was last looked for."""
        return self._held.get(name, Held()).is_open(now)

    async def take(self, name: str, setting: str, text: str, now: datetime) -> bool:
        """Keep a secret, durably; False where it is not expected any more.

        Raises:
            StateError: it cannot be kept.
        """
        self._redactor.add(text)
        is_taken = await asyncio.to_thread(self._store.take, name, setting, text, now)
        self._look()
        if is_taken:
            log.info("a handshake brought a secret: source=%s setting=%s", name, setting)
        return is_taken

    def _look(self) -> None:
        stamp = self._store.stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._set(self._store.read())
        except StateError as error:
            log.error("the secrets stay as they were: %s", error)

    def _set(self, held: dict[str, Held]) -> None:
        for name, bare in self._bare.items():
            now, before = held.get(name, Held()), self._held.get(name, Held())
            if now.secrets != before.secrets:
                self._redactor.add(*(one.text for one in now.secrets))
                brought = {setting: now.texts(setting) for setting in bare.form.brought}
                self._sources[name] = bare.with_secrets(brought)
        self._held = held
