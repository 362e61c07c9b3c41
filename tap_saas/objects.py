"""JSON files that a user hands us: an object, or one clear line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    except (OSError, UnicodeDecodeError) as cause:
        reason = getattr(cause, "strerror", None) or "not UTF-8"
        raise error(f"the {what} cannot be read ({reason})", where=path) from cause
