"""Whose a budget is: those that a request says for itself have names of their own."""

from __future__ import annotations

from typing import Any

import msgspec

from tap_saas.connector.budget import Budget
from tap_saas.connector.lineage import columns, shares_for_each
from tap_saas.connector.model import Connector, Stream
from tap_saas.connector.routes import Route
from tap_saas.connector.subscribe import Subscribe

Budgets = dict[str, Budget]


def owned(budgets: Budgets, own: Any, owner: str) -> Budgets:
    """The budgets of a request; `own` is what the file says for it alone."""
    mine = _said(own)
    return {f"{owner}.{name}" if name in mine else name: one for name, one in budgets.items()}


def owned_routes(routes: list[Route], own: Any, owner: str) -> list[Route]:
    """The routes, each with the budgets of its request."""
    said = own.get("routes") if isinstance(own, dict) else None
    raw = said if isinstance(said, list) else []
    found = []
    for n, route in enumerate(routes):
        fetch = route.fetch
        if fetch is not None:
            mine = raw[n].get("fetch") if n < len(raw) and isinstance(raw[n], dict) else None
            named = owned(fetch.budgets, mine, f"{owner}.routes.{n}")
            fetch = msgspec.structs.replace(fetch, budgets=named)
        found.append(msgspec.structs.replace(route, fetch=fetch))
    return found


def owned_subscribe(subscribe: Subscribe | None, own: Any, owner: str) -> Subscribe | None:
    """The subscription, each of its requests with its own budgets."""
    if subscribe is None:
        return None
    said = own.get("subscribe") if isinstance(own, dict) else None
    raw = said if isinstance(said, dict) else {}
    forms = {
        name: msgspec.structs.replace(
            form, budgets=owned(form.budgets, raw.get(name), f"{owner}.subscribe.{name}")
        )
        for name, form in subscribe.requests.items()
    }
    return msgspec.structs.replace(subscribe, **forms)


def with_owned_list(stream: Stream, own: Any) -> Stream:
    """The stream, its request for what is gone with its own budgets and the stream's."""
    deletes = stream.deletes
    if deletes is None or deletes.list_ is None:
        return stream
    said = own.get("deletes") if isinstance(own, dict) else None
    mine = _said(said.get("list") if isinstance(said, dict) else None)
    streams = {name: one for name, one in deletes.list_.budgets.items() if name not in mine}
    others = {name: one for name, one in deletes.list_.budgets.items() if name in mine}
    budgets = owned(streams, own, stream.name)
    budgets |= {f"{stream.name}.deletes.{name}": one for name, one in others.items()}
    gone = msgspec.structs.replace(deletes.list_, budgets=budgets)
    return msgspec.structs.replace(stream, deletes=msgspec.structs.replace(deletes, list_=gone))


def finished(top: Connector, streams: dict[str, Stream]) -> Connector:
    """The connector with its streams, each with what it has from the others, and all budgets."""
    complete = {
        name: msgspec.structs.replace(
            stream,
            context=columns(streams, name),
            for_each=None if shares_for_each(streams, name) else stream.for_each,
        )
        for name, stream in streams.items()
    }
    budgets = {**top.budgets, **(top.check.budgets if top.check else {})}
    for stream in streams.values():
        budgets |= stream.budgets
        if stream.deletes is not None and stream.deletes.list_ is not None:
            budgets |= stream.deletes.list_.budgets
    for log in top.events.values():
        budgets |= log.budgets
    for source in top.webhooks.values():
        for form in source.subscribe.requests.values() if source.subscribe else ():
            budgets |= form.budgets
    logs = [log.routes for log in top.events.values()]
    for routes in (*logs, *(source.routes for source in top.webhooks.values())):
        for route in routes:
            budgets |= route.fetch.budgets if route.fetch is not None else {}
    return msgspec.structs.replace(top, streams=complete, budgets=budgets)


def _said(own: Any) -> dict[str, Any]:
    said = own.get("budgets") if isinstance(own, dict) else None
    return said if isinstance(said, dict) else {}
