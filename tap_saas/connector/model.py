"""What a connector file says, as the objects that do it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from tap_saas.connector.auth import Auth
from tap_saas.connector.budget import Budget
from tap_saas.connector.decoding import FILLED_BY_LOAD
from tap_saas.connector.deletes import Deletes
from tap_saas.connector.events import EventLog
from tap_saas.connector.fields import HASH_COLUMN, Fields, HashKey, Shaper, shaper
from tap_saas.connector.http import HttpOptions
from tap_saas.connector.incremental import Incremental
from tap_saas.connector.jsonpath import Path
from tap_saas.connector.parents import ForEach, Parent
from tap_saas.connector.place import Condition
from tap_saas.connector.records_form import RecordsForm
from tap_saas.connector.request_form import Params, RequestForm
from tap_saas.connector.responses import Rule
from tap_saas.connector.retry import Retry
from tap_saas.connector.template import Template, Tree
from tap_saas.connector.units import Duration, Percent
from tap_saas.connector.webhook import WebhookSource

LANGUAGE = 1
OBSERVED = "observed"
OBSERVED_COLUMN = "_observed_at"


class Setting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{secret: true, env: ACME_API_KEY}`: what a connector's user gives.

    type: string, integer, number, boolean, array or object
    secret: its value is never shown
    env: the environment variable that holds it where the tap's config does not
    default: its value where neither does
    enum: the values that it may have
    pattern: a regular expression for the whole of a text
    required: whether a run needs it; without a default it does, unless this is false
    description: what a user should give
    """

    type: Literal["string", "integer", "number", "boolean", "array", "object"] = "string"
    secret: bool = False
    env: str | None = None
    default: Any = None
    enum: list[Any] | None = None
    pattern: str | None = None
    required: bool | None = None
    description: str | None = None

    @property
    def is_required(self) -> bool:
        """Whether a run cannot begin without it."""
        return self.default is None if self.required is None else self.required


class TextVersion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{text: etag}`: versions that are compared letter by letter.

    text: the field that orders the versions of a row
    """

    text: str


class Stream(RecordsForm, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{path: /orders, records: $.data, primary_key: [id], pagination: {...}}`: a list of records.

    primary_key: the fields that name a record, or {hash: [fields]}
    version: the field that orders the versions of a row, observed, or {text: field}
    schema: a JSON Schema, {file: path}, or infer
    on_new_field: what a field that the schema lacks means: evolve, ignore or fail
    on_invalid: what a record that breaks the schema means: reject or fail
    max_rejects: how many records may be rejected
    fields: what becomes of a record's fields
    incremental: only what changed since the last run
    deletes: how it is known what is gone
    parents: streams or lists whose values the requests need
    for_each: once for each value of a setting
    every: read not more often
    if: only where this holds for the settings
    """

    name: Annotated[str, FILLED_BY_LOAD] = ""
    context: Annotated[tuple[str, ...], FILLED_BY_LOAD] = ()
    primary_key: list[Path] | HashKey | None = None
    version: str | TextVersion | None = None
    schema_: Literal["infer"] | dict[str, Any] = msgspec.field(name="schema", default="infer")
    on_new_field: Literal["evolve", "ignore", "fail"] = "evolve"
    on_invalid: Literal["reject", "fail"] = "reject"
    max_rejects: Percent = Percent(0.05)
    fields: Fields | None = None
    incremental: Incremental | None = None
    deletes: Deletes | None = None
    parents: list[Parent] = msgspec.field(default_factory=list)
    for_each: ForEach | None = None
    every: Duration | None = None
    if_: Condition | None = msgspec.field(name="if", default=None)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns of the primary key, none where the stream has none."""
        if isinstance(self.primary_key, HashKey):
            return (HASH_COLUMN,)
        return tuple(column(path) for path in self.primary_key or ())

    @property
    def replication_key(self) -> str | None:
        """The column of the replication key."""
        return self.incremental.column if self.incremental else None

    @property
    def version_kind(self) -> Literal["field", "observed", "text"] | None:
        """How versions of a row are ordered, `None` where nothing orders them."""
        if isinstance(self.version, TextVersion):
            return "text"
        if self.version == OBSERVED:
            return "observed"
        return "field" if self.version_column else None

    @property
    def version_column(self) -> str | None:
        """The column that orders the versions of a row."""
        if self.version == OBSERVED:
            return OBSERVED_COLUMN
        if isinstance(self.version, TextVersion):
            return column(Path.parse(self.version.text))
        return column(Path.parse(self.version)) if self.version else self.replication_key

    @property
    def columns(self) -> dict[str, Path]:
        """Nested values that become columns: of primary key, replication key and version."""
        paths = list(self.primary_key) if isinstance(self.primary_key, list) else []
        if self.incremental and self.incremental.field:
            paths.append(self.incremental.field)
        field = self.version.text if isinstance(self.version, TextVersion) else self.version
        if field and field != OBSERVED:
            paths.append(Path.parse(field))
        return {column(path): path for path in paths if len(path.steps) > 1}

    def shaper(self, values: Mapping[str, Any]) -> Shaper | None:
        """What becomes of a record before it is checked, `None` where it stays as it is."""
        hashed = self.primary_key.hash if isinstance(self.primary_key, HashKey) else []
        return shaper(self.fields, self.columns, hashed, values)


class Connector(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One API.

    name: what the connector is called, the file's name unless said
    title: what people call the API
    docs: where the API is documented
    language: the version of this language
    settings: what a user gives
    base_url: the beginning of every URL
    headers: of every request
    params: of every request
    auth: how a request proves who asks, one or a list
    http: how connections are made
    budgets: how many requests are allowed
    retry: how often and how late a request is asked again
    responses: what a response means, the first that fits
    check: the request that proves the credentials, the first page of the first stream unless said
    defaults: keys of every stream, which may say otherwise; null takes one away. An event log takes
      those of lists and requests, but no `incremental`
    streams: the lists of records
    events: logs of what happened, read instead of the lists or beside them
    webhooks: what the API sends by itself
    """

    name: str = ""
    title: str | None = None
    docs: str | None = None
    language: int = LANGUAGE
    settings: dict[str, Setting] = {}
    base_url: Template | None = None
    headers: Tree = Tree.parse({})
    params: Params = Params.parse({})
    auth: Annotated[list[Auth], Meta(extra={"short": "item"})] = []
    http: HttpOptions = HttpOptions()
    budgets: dict[str, Budget] = {}
    retry: Retry = Retry()
    responses: list[Rule] = []
    check: RequestForm | None = None
    defaults: dict[str, Any] = {}
    streams: dict[str, Stream] = {}
    events: dict[str, EventLog] = {}
    webhooks: dict[str, WebhookSource] = {}


def column(path: Path) -> str:
    """The column of a nested value: the last member of its path."""
    last = path.steps[-1] if path.steps else "$"
    return str(last)
