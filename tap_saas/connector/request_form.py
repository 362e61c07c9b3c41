"""A request with placeholders, as `check` and every stream write one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from tap_saas.connector.auth import Auth
from tap_saas.connector.budget import Budget
from tap_saas.connector.exchange import Body, Pairs, Request, written
from tap_saas.connector.http import HttpOptions
from tap_saas.connector.responses import Rule
from tap_saas.connector.retry import Retry
from tap_saas.connector.template import Template, Tree
from tap_saas.connector.written import Written
from tap_saas.errors import ConfigError

ARRAYS = ("repeat", "comma", "brackets")

_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)


class Params(Written):
    """Parameters of the URL: texts with placeholders, and how a list is sent."""

    __slots__ = ("arrays", "tree")

    def __init__(self, tree: Tree, arrays: str) -> None:
        super().__init__(f"{arrays} {tree}")
        self.tree = tree
        self.arrays = arrays

    @classmethod
    def parse(cls, raw: Any) -> Params:
        """`{ids: [1, 2], arrays: comma}`; raises `ValueError`."""
        if not isinstance(raw, dict):
            raise ValueError("parameters are a map of names and values, as in {limit: 100}")
        arrays = raw.get("arrays", "repeat")
        if arrays not in ARRAYS:
            raise ValueError(f"arrays is one of {', '.join(ARRAYS)}, not {arrays!r}")
        return cls(Tree.parse({k: v for k, v in raw.items() if k != "arrays"}), arrays)

    @property
    def names(self) -> frozenset[str]:
        """The placeholders."""
        return self.tree.names

    def fill(self, values: Mapping[str, Any]) -> Pairs:
        """Names and texts in order; a list is sent as `arrays` says, null is not sent."""
        filled = self.tree.fill(values)
        pairs: list[tuple[str, str]] = []
        for name, value in ({} if filled is UNSET else filled).items():
            if not isinstance(value, list):
                pairs += [] if value is None else [(name, written(value))]
            elif self.arrays == "comma":
                pairs += [(name, ",".join(map(written, value)))] if value else []
            else:
                sent = f"{name}[]" if self.arrays == "brackets" else name
                pairs += [(sent, written(item)) for item in value]
        return tuple(pairs)


class BodyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{json: {filter: {gte: "{start}"}}}`: what a request sends; one of these.

    json: a JSON value
    form: fields of a form
    text: a text as it is
    """

    json: Tree | None = None
    form: Tree | None = None
    text: Template | None = None

    @property
    def names(self) -> frozenset[str]:
        """The placeholders."""
        parts = (self.json, self.form, self.text)
        return frozenset().union(*(part.names for part in parts if part is not None))

    def fill(self, values: Mapping[str, Any]) -> Body | None:
        """The body, `None` where nothing of it has a value."""
        if self.text is not None:
            text = self.text.fill(values)
            return None if text is UNSET else Body("text", text)
        if self.form is not None:
            form = self.form.fill(values)
            return None if form is UNSET else Body("form", form)
        value = UNSET if self.json is None else self.json.fill(values)
        return None if value is UNSET else Body("json", value)


class RequestForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{path: /me}`: a request with placeholders.

    path: relative to base_url, or absolute
    method: GET unless there is a body
    params: parameters of the URL; arrays says how lists are sent: repeat, comma or brackets
    headers: header names and values
    body: what is sent
    base_url: the beginning of every URL
    auth: how a request proves who asks, one or a list
    http: how connections are made
    budgets: how many requests are allowed
    retry: how often and how late a request is asked again
    responses: what a response means, the first that fits
    """

    path: Template
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] | None = None
    params: Params = Params.parse({})
    headers: Tree = Tree.parse({})
    body: BodyForm | None = None
    base_url: Template | None = None
    auth: Annotated[list[Auth], Meta(extra={"short": "item"})] = []
    http: HttpOptions = HttpOptions()
    budgets: dict[str, Budget] = {}
    retry: Retry = Retry()
    responses: list[Rule] = []

    @property
    def verb(self) -> str:
        """The method: GET unless there is a body."""
        return self.method or ("GET" if self.body is None else "POST")

    @property
    def names(self) -> frozenset[str]:
        """The placeholders of the request without its credentials."""
        parts = (self.path, self.params, self.headers, self.body, self.base_url)
        return frozenset().union(*(part.names for part in parts if part is not None))

    def build(self, values: Mapping[str, Any]) -> Request:
        """The request without its credentials.

        Raises: `ConfigError` where a part of the URL has no value, or a value the wrong format.
        """
        try:
            headers = self.headers.fill(values)
            sent = () if headers is UNSET else headers.items()
            body = self.body.fill(values) if self.body else None
            return Request(
                method=self.verb,
                url=self._url(values),
                params=self.params.fill(values),
                headers=tuple((k, written(v)) for k, v in sent if v is not None),
                body=body,
            )
        except ValueError as error:
            raise ConfigError(str(error), where=str(self.path)) from error

    def _url(self, values: Mapping[str, Any]) -> str:
        if _ABSOLUTE.match(str(self.path)):
            return _filled(self.path, self.path.fill(values))
        path = _filled(self.path, self.path.fill_quoted(values))
        if self.base_url is None:
            raise ConfigError(
                "there is no base_url", where=path, do="add base_url to the connector"
            )
        base = _filled(self.base_url, self.base_url.fill(values)).rstrip("/")
        return f"{base}/{path.lstrip('/')}" if path else base


def _filled(template: Template, value: Any) -> str:
    if value is UNSET:
        names = ", ".join(sorted(template.names))
        raise ConfigError(f"no value for {names}", where=str(template), do="set it")
    return written(value)
