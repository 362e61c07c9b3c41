"""Secrets are masked in every text that leaves: log lines, errors, states, reports."""

from __future__ import annotations

import json
import logging
import re
import threading
from base64 import b64encode
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = "***"
# A shorter secret would blank out ordinary words everywhere.
SHORTEST = 4
KEPT = 64


class Redactor:
    """Masks secret values, and what they look like inside URLs, JSON and base64. Thread-safe.

    What `learn` adds are tokens that live for a while: the newest `KEPT` of them are masked.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._secrets = set(secrets)
        self._learnt: dict[str, None] = {}
        self._forms: tuple[str, ...] = ()
        self._compile()

    def add(self, *secrets: str) -> None:
        """Masks these values too, from now on."""
        with self._lock:
            self._secrets |= set(secrets)
            self._compile()

    def learn(self, *tokens: str) -> None:
        """Masks these values too, until `KEPT` newer ones have come."""
        if all(token in self._learnt or token in self._secrets for token in tokens):
            return
        with self._lock:
            self._learnt |= dict.fromkeys(tokens)
            for oldest in list(self._learnt)[:-KEPT]:
                del self._learnt[oldest]
            self._compile()

    def _compile(self) -> None:
        texts = (*self._secrets, *self._learnt)
        forms = {form for text in texts for form in _forms(text) if len(form) >= SHORTEST}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))

    def mask(self, text: str) -> str:
        """The text with every secret replaced by `***`."""
        # Longest first. For some hundred words this is far faster than one regular expression.
        for form in self._forms:
            text = text.replace(form, MASK)
        return text


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be written: plain, in a URL, in JSON, in a repr, in base64."""
    if len(secret) < SHORTEST:
        return
    yield secret
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    for quoted in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)
    yield from _inside_base64(secret.encode())


def _inside_base64(secret: bytes) -> Iterator[str]:
    """The characters that the secret alone decides, at each of its three places in a base64 text.

    `user:secret` in a Basic header is one of the texts that holds them (RFC 4648 section 4).
    """
    for before in range(3):
        first = -(-before * 8 // 6)
        last = (before + len(secret)) * 8 // 6
        text = b64encode(b"\0" * before + secret).decode()[first:last]
        yield text
        yield text.translate({ord("+"): "-", ord("/"): "_"})


class MaskingFormatter(logging.Formatter):
    """Formats as another formatter does, then masks: message, fields and traceback alike."""

    def __init__(self, inner: logging.Formatter, redactor: Redactor) -> None:
        super().__init__()
        self.inner = inner
        self.redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The masked line."""
        return self.redactor.mask(self.inner.format(record))


def mask_logs(redactor: Redactor) -> None:
    """Puts a `MaskingFormatter` around the formatter of every handler that logging has now."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    handlers = {
        handler
        for logger in loggers
        if isinstance(logger, logging.Logger)
        for handler in logger.handlers
    }
    for handler in handlers:
        inner = handler.formatter or logging.Formatter()
        if isinstance(inner, MaskingFormatter):
            if inner.redactor is redactor:
                continue
            inner = inner.inner
        handler.setFormatter(MaskingFormatter(inner, redactor))
