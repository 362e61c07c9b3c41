"""A shop whose connector has a bit of everything, and the API that answers it rightly."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from hostile_api import Asked, Raw, answer
from in_process import run_tap
from ruamel.yaml import YAML
from singer_output import Done

BIN = Path(sys.executable).parent
KEY = "k3y/of+the shop=é"
CLIENT_SECRET = "cl1ent&secret%"
TOKEN = "t0ken-of-the-shop~1"
SECRETS = (
    KEY,
    "k3y%2Fof%2Bthe%20shop",
    "k3y%2Fof%2Bthe+shop",
    "k3y/of+the shop=\\u00e9",
    "azN5L29mK3RoZSBzaG9w",  # in base64, at each of its three places
    "czeS9vZit0aGUgc2hvcD",
    "rM3kvb2YrdGhlIHNob3",
    CLIENT_SECRET,
    "cl1ent%26secret%25",
    TOKEN,
)
"""Secrets, and how they look in addresses, JSON and Basic headers."""
ENVIRONMENT = {"SHOP_KEY": KEY, "SHOP_CLIENT_SECRET": CLIENT_SECRET}
DAY = "2025-01-0{}T00:00:00Z"
CONNECTOR = """\
name: shop
settings:
  url: {}
  key: {secret: true, env: SHOP_KEY}
  client_secret: {secret: true, env: SHOP_CLIENT_SECRET}
  regions: {type: array, default: [eu, us]}
base_url: "{url}"
auth:
  - {type: basic, user: me, password: "{key}"}
  - {type: key, send: "param:api_key", value: "{key}"}
http: {timeout: {connect: 2s, read: 400ms, total: 2s}, max_body: 2MB}
retry: {attempts: 2, first: 1ms, max: 2ms, total: 300ms}
budgets:
  all:
    {limits: [{requests: 10000, per: 1s}],
     remaining: header:X-Left, reset: {take: header:X-Reset}}
responses:
  - {status: 418, then: skip, message: $.message}
  - {status: 419, then: restart, message: $.message}
  - {when: $.ok == false, then: fail, message: $.error}
defaults:
  records: $.data
  primary_key: [id]
  pagination: {type: cursor, next: $.next, send: param:cursor, size: {send: param:limit, value: 2}}
streams:
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:after}, order: asc, lag: 0s}
    deletes: {list: {path: /orders/gone, params: {since: "{start}"}}, flag: $.gone == true}
  lines:
    path: /orders/{order}/lines
    primary_key: [order, n]
    version: updated_at
    parents: [{stream: orders, values: {order: $.id}}]
  links:
    path: /links
    pagination: {type: next_url, next: $.links.next}
    version: observed
    auth:
      type: oauth2
      grant: client_credentials
      token_url: "{url}/token"
      client: {id: shop, secret: "{client_secret}", send: body}
  headed:
    path: /headed
    pagination: {type: link_header}
    fields: {lift: [$.inner], parse: {price: decimal, at: epoch_s}, drop: [raw]}
  offsets:
    path: /offsets
    pagination: {type: offset, size: {send: param:limit, value: 2}, total: $.total}
    incremental: {key: n, format: counter, start: {send: param:from}}
  regions:
    path: /regions/{region}
    for_each: {setting: regions, as: region}
    primary_key: [region, id]
    pagination: {type: page, size: {send: param:limit, value: 2}, more: $.more}
    incremental: {key: updated_at, start: {send: param:after}, lag: 0s}
  windows:
    path: /windows
    pagination: {type: seek, field: id, send: param:after, size: {send: param:limit, value: 2}}
    incremental:
      key: updated_at
      first: "2025-01-01"
      start: {send: param:from}
      end: {send: param:to}
      window: {size: 36500d}
      lag: 0s
events:
  log:
    path: /log
    incremental: {key: at, format: epoch_s, start: {send: param:after}, order: asc}
    id: $.id
    type: $.type
    routes:
      - {types: [gone], stream: orders, record: {id: $.order, updated_at: $.time}, deleted: true}
      - {types: [changed], stream: orders,
         fetch: {path: "/orders/{id}", records: $, values: {id: $.order}}}
"""


WHOLE: dict[str, Any] = YAML(typ="safe").load(CONNECTOR)


def connector(*streams: str, events: bool = False, **more: Any) -> str:
    """The connector with these streams alone, as JSON, which is YAML too."""
    kept = {name: WHOLE["streams"][name] for name in streams}
    known = {**WHOLE, "streams": kept, **more}
    if not events:
        del known["events"]
    return json.dumps(known, default=str)


def page(*records: Any, **more: Any) -> Raw:
    """A page of a list."""
    return answer(json.dumps({"data": list(records), **more}).encode())


def right(asked: Asked) -> Raw:
    """What the shop's API answers where nothing is wrong."""
    first = "cursor=" not in asked.target and "page=2" not in asked.target
    parts = asked.path.split("/")[1:]
    match parts:
        case ["orders"]:
            records = [_order(1), _order(2)] if first else [_order(3)]
            return page(*records, next="again" if first else None)
        case ["orders", "gone"]:
            return page({"id": 9, "updated_at": DAY.format(3)}, next=None)
        case ["orders", number, "lines"]:
            return page({"n": 1, "updated_at": DAY.format(2), "of": number}, next=None)
        case ["orders", number] if number.isdecimal():
            return answer(json.dumps(_order(int(number))).encode())
        case ["token"]:
            return answer(json.dumps({"access_token": TOKEN, "expires_in": 3600}).encode())
        case ["links"]:
            return page({"id": 1}, links={"next": "/links?page=2" if first else None})
        case ["headed"]:
            link = {"Link": '</headed?page=2>; rel="next"'} if first else {}
            body = {"data": [{"id": 1 + (not first), "price": "1.50", "at": 5, "inner": {"a": 1}}]}
            return answer(json.dumps(body).encode(), headers=link)
        case ["offsets"]:
            return page({"id": 1, "n": 1}, {"id": 2, "n": 5}, total=2)
        case ["regions", _]:
            return page({"id": 1, "updated_at": DAY.format(1)}, more=False)
        case ["windows"]:
            return page(*([_order(7), _order(8)] if "after=" not in asked.target else []))
        case ["log"]:
            events = [
                {"id": 1, "at": 5, "type": "gone", "order": 9, "time": DAY.format(4)},
                {"id": 2, "at": 6, "type": "changed", "order": 4},
            ]
            return page(*events, next=None)
    return answer(b'{"message": "no such path"}', 404)


def _order(number: int) -> dict[str, Any]:
    return {"id": number, "updated_at": DAY.format(min(number, 9)), "name": f"order {number}"}


class Shop:
    """A folder with the connector and a config; each run begins with nothing but the state."""

    def __init__(self, folder: Path, url: str, text: str = CONNECTOR, **config: Any) -> None:
        self.folder = folder
        self.yaml = folder / "shop.yaml"
        self.yaml.write_text(text)
        self.config = folder / "tap.json"
        self.state = folder / "state.json"
        self.home = folder / "home"
        self.given = {
            "connector": str(self.yaml),
            "settings": {"url": url},
            "home": str(self.home),
            "progress": False,
            **config,
        }
        self.config.write_text(json.dumps(self.given))

    def arguments(self, *more: object) -> list[str]:
        """What a run of the tap is given: with the state where there is one."""
        state = ["--state", self.state] if self.state.exists() else []
        return [str(one) for one in ("--config", self.config, *state, *more)]

    def tap(self, *more: object, **environment: str) -> Done:
        """One run of the tap, in this process."""
        return run_tap(*self.arguments(*more), environment={**ENVIRONMENT, **environment})

    def command(self, *more: object) -> list[str]:
        """The same as a process of its own."""
        return [str(BIN / "tap-saas"), *self.arguments(*more)]

    @property
    def environment(self) -> dict[str, str]:
        """The environment of such a process."""
        return {**os.environ, **ENVIRONMENT}

    def kept(self) -> bytes:
        """All that is kept in `home` for people to read: run files and learnt schemas."""
        files = [*self.home.glob("runs/*"), *self.home.glob("schemas/*")]
        return b"\n".join(path.read_bytes() for path in files)
