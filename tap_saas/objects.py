"""JSON files that a user hands us: an object, or one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import msgspec

from tap_saas.errors import TapSaasError


def parse_object(text: str, name: str, error: type[TapSaasError], what: str) -> dict[str, Any]:
    """The JSON object in a text.

    Raises:
        TapSaasError: of the class `error`, where the text is empty, broken or no object.
    """
    if not text.strip():
        raise error(f"the {what} is empty", where=name, do=f"pass a complete {what}, or none")
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError as cause:
        raise error(
            f"the {what} is not JSON ({cause})", where=name, do="mend or remove it"
        ) from cause
    except RecursionError:
        raise error(f"the {what} is nested too deeply", where=name, do="mend it") from None
    if not isinstance(value, dict):
        raise error(f"the {what} is not a JSON object", where=name, do="mend or remove it")
    return value


def read_text(path: str, error: type[TapSaasError], what: str) -> str:
    """The text of a file.

    Raises:
        TapSaasError: of the class `error`, where it cannot be read.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, ValueError) as cause:
        raise _unreadable(path, error, what, cause) from cause


def read_all(file: IO[str], error: type[TapSaasError], what: str) -> str:
    """The text of an open file.

    Raises:
        TapSaasError: of the class `error`, where it cannot be read.
    """
    try:
        return file.read()
    except (OSError, ValueError) as cause:
        raise _unreadable(file.name, error, what, cause) from cause


def _unreadable(
    name: str, error: type[TapSaasError], what: str, cause: OSError | ValueError
) -> TapSaasError:
    reason = getattr(cause, "strerror", None)
    if reason is None:
        reason = "not UTF-8" if isinstance(cause, UnicodeError) else "no name of a file"
    return error(f"the {what} cannot be read ({reason})", where=name)
