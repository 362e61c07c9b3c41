"""Secrets are masked in every text that leaves: log lines, errors, states, reports."""

from __future__ import annotations

import html
import json
import logging
import re
import threading
import weakref
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar
from urllib.parse import quote, quote_plus

MASK = "***"
# A shorter secret would blank out ordinary words everywhere.
SHORTEST = 4
KEPT = 64
JSON_IN_JSON = 4  # as a partition in a message in a record that a log line shows
TELLING = 8  # so many letters of a secret's beginning, or half of it, tell too much
LONGEST_LINE = 4_000  # letters of what is told; cut after it was masked
_CUT = re.compile(r"(\.\.\.|…)")


class Redactor:
    """Masks secret values, and what they look like inside URLs, JSON and base64. Thread-safe.

    What `learn` adds are tokens that live for a while: the newest `KEPT` of them are masked. The
    beginning of a secret is masked too, where a text was cut in it and `...` says so.
    """

    alive: ClassVar[weakref.WeakSet[Redactor]] = weakref.WeakSet()
    """All that there are: what a process tells at its end may hold anybody's secrets."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._secrets = set(secrets)
        self._learnt: dict[str, None] = {}
        self._forms: tuple[str, ...] = ()
        self._compile()
        Redactor.alive.add(self)

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
        if self._forms and _CUT.search(text):
            pieces = _CUT.split(text)
            pieces[:-1:2] = map(self._without_beginning, pieces[:-1:2])
            text = "".join(pieces)
        return text

    def bears_secret(self, text: str) -> bool:
        """True for a text that holds a secret."""
        return self.mask(text) != text

    def _without_beginning(self, piece: str) -> str:
        """A text that was cut at its end, without the beginning of a secret there."""
        for form in self._forms:
            least = max(SHORTEST, min(len(form) // 2, TELLING))
            at = piece.find(form[:least], max(0, len(piece) - len(form) + 1))
            while at >= 0:
                if form.startswith(piece[at:]):
                    return piece[:at] + MASK
                at = piece.find(form[:least], at + 1)
        return piece


def _forms(secret: str) -> Iterator[str]:
    """How a secret may be written: plain, in a URL, in JSON in JSON, in HTML, base64 or a repr."""
    if len(secret) < SHORTEST:
        return
    yield secret
    inner = secret
    for _ in range(JSON_IN_JSON):
        yield json.dumps(inner, ensure_ascii=False)[1:-1]
        inner = json.dumps(inner)[1:-1]
        yield inner
    yield repr(secret)[1:-1]
    yield secret.encode(errors="replace").decode("latin-1")  # as headers are read
    yield html.escape(secret)
    once = quote(secret, safe="")
    for quoted in (quote(secret), once, quote_plus(secret), quote(once, safe="")):
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
        """The masked line, or the lines of a trace."""
        return shortened(self.redactor.mask(self.inner.format(record)))


def masked_value(value: Any, mask: Callable[[str], str]) -> Any:
    """A JSON value with `mask` applied to its texts and names."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [masked_value(inner, mask) for inner in value]
    if isinstance(value, dict):
        return {mask(name): masked_value(inner, mask) for name, inner in value.items()}
    return value


def storable(text: str) -> str:
    """The text with half letters (lone surrogates) replaced: no JSON file can hold them."""
    return text.encode(errors="replace").decode()


def mask_known(text: str) -> str:
    """The text without the secrets of all redactors that there are."""
    for redactor in list(Redactor.alive):
        text = redactor.mask(text)
    return text


def shortened(text: str) -> str:
    """The text with the middle of lines left out that are longer than anybody reads."""
    if len(text) <= LONGEST_LINE:
        return text
    half = LONGEST_LINE // 2 - 10
    lines = text.split("\n")
    return "\n".join(
        line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}" for line in lines
    )


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
