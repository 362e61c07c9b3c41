"""What an answer's headers say of the API's rate limits, as a budget."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from tap_saas.authoring.naming import words
from tap_saas.connector.exchange import Headers
from tap_saas.connector.retry import read_http_date

_POLICY = re.compile(r"(\d+)\s*;\s*w=(\d+)")
_QUOTED_POLICY = re.compile(r"\bq=(\d+)\b.*?\bw=(\d+)\b")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The headers that speak of limits, and the budget that they suggest, `None` for none."""

    headers: dict[str, str]
    budget: dict[str, Any] | None


def find(headers: Headers) -> Limits:
    """What these headers say."""
    seen = {name: value for name, value in headers.items() if _is_about_limits(name)}
    limits = _policy(seen)
    learnt = _learnt(seen)
    budget = {**({"limits": limits} if limits else {}), **learnt}
    return Limits(headers=seen, budget=budget or None)


def _is_about_limits(name: str) -> bool:
    text = "".join(words(name))
    return "ratelimit" in text or text == "retryafter" or "calllimit" in text


def _policy(seen: dict[str, str]) -> list[dict[str, Any]]:
    """`RateLimit-Policy: 100;w=60`, also within `RateLimit-Limit` (IETF drafts of httpapi)."""
    for value in seen.values():
        found = _QUOTED_POLICY.findall(value) or _POLICY.findall(value)
        if found:
            return [{"requests": int(count), "per": f"{int(span)}s"} for count, span in found
                    if int(count) and int(span)]  # fmt: skip
    return []


def _learnt(seen: dict[str, str]) -> dict[str, Any]:
    """`remaining` and `reset`, where both are there and are numbers."""
    for name, value in seen.items():
        if words(name)[-1:] != ("remaining",) or not value.strip().isdigit():
            continue
        twin = re.sub("remaining$", "reset", name, flags=re.IGNORECASE)
        match = next((other for other in seen if other.lower() == twin.lower()), None)
        unit = None if match is None else _unit(seen[match])
        if unit is not None:
            reset = {"take": f"header:{match}", "as": unit}
            return {"remaining": f"header:{name}", "reset": reset}
    return {}


def _unit(value: str) -> str | None:
    try:
        number = float(value)
    except ValueError:
        return "http_date" if read_http_date(value) else None
    if number > 1e11:
        return "epoch_ms"
    return "epoch_s" if number > 1e8 else "delta_s"
