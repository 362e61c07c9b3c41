"""The shortest connector that runs, to begin with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tap_saas.authoring import keys
from tap_saas.authoring.address import Address
from tap_saas.authoring.asking import Asker
from tap_saas.authoring.guess import found, named
from tap_saas.authoring.writing import Entry, block, text

EMPTY = """\
# One file for one API: `saasctl check` tells every mistake, `saasctl preview` shows a page.
name: {name}
# settings: {{token: {{secret: true, env: {variable}_TOKEN}}}}
base_url: https://api.example.com/v1
# auth: {{type: bearer, token: "{{token}}"}}
streams:
  orders:
    path: /orders
    # records: $.data
    primary_key: [id]
    pagination: {{type: single}}
"""
"""A file to edit, where no address is known."""


def empty(name: str) -> str:
    """A file to edit."""
    return EMPTY.format(name=name, variable=name.upper())


def of_address(address: Address, tell: Callable[[str], None]) -> str:
    """The shortest connector for a list, after one request.

    Raises:
        CredentialError: the API refuses who asks.
        ApiError: the answer is no list of records.
    """
    with Asker(address, 1, tell) as asker:
        response = asker.first(address.request())
    listing = found(response, address.shown, address.stream)[0]
    address = named(address, listing)
    stream: dict[str, Any] = {"path": address.path}
    if address.params:
        stream["params"] = address.params
    if listing.form != "$":
        stream["records"] = listing.form
    stream["primary_key"] = keys.find(listing.records, address.stream)[0].form
    stream["pagination"] = {"type": "single"}
    head = [Entry(key=key, value=value) for key, value in address.head.items()]
    told = "  # One page, as it is; `saasctl preview` says what the answer has of a next one."
    lines = [*text(head), "streams:", told, *block(address.stream, stream, 1)]
    return "\n".join(lines) + "\n"
