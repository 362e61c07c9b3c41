"""What the page of the connector language holds, in its order: headings, parts, an example each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from tap_saas.connector import (
    auth,
    budget,
    deletes,
    events,
    fields,
    handshake,
    http,
    incremental,
    model,
    pagination,
    paginator,
    parents,
    proof,
    records_form,
    request_form,
    responses,
    retry,
    routes,
    signature,
    signed_text,
    stamp,
    subscribe,
    webhook,
)

Part = type[msgspec.Struct]


class Section(NamedTuple):
    """A heading, the parts of the language under it, and YAML as a connector or a stream has it."""

    title: str
    parts: Sequence[Part]
    example: str


INTRO: Final = """
One YAML file describes one API. It is data: no templates that compute, no code. `saasctl check
FILE` tells all mistakes at once, `saasctl schema` prints the JSON Schema for your editor, and this
page is what `saasctl schema --markdown` prints.

*Needed* keys may also stand in `defaults`, where the key is a stream's. A setting's placeholder,
`"{size}"`, may stand for any value. YAML is 1.2: `no`, `on` and `2020-01-01` are texts; two equal
keys are a mistake, and so is a key that is not on this page. Durations, sizes, paths and the other
notations are explained [at the end](#notations).
"""
TITLES: Final[Mapping[Part, str]] = {
    paginator.Paginator: "all types of pagination",
    proof.Secrets: "all signatures with secrets",
    signature.Signed: "all signatures in a header",
    records_form.RecordsForm: "list",
}
"""Parts whose classes' names say less; all but the last are bases that a file cannot name."""
SECTIONS: Final = (
    Section(
        "The file",
        [model.Connector, model.Setting],
        """
name: acme
settings:
  api_key: {secret: true, env: ACME_API_KEY, description: A key with read access}
  region: {default: eu, enum: [eu, us]}
base_url: "https://{region}.acme.example/v1"
auth: {type: bearer, token: "{api_key}"}
budgets:
  all: {limits: [{requests: 1000, per: 1h}, {concurrent: 8}]}
defaults:
  records: $.data
  primary_key: [id]
  pagination:
    {type: cursor, next: $.next_cursor, send: param:cursor, size: {send: param:limit, value: 500}}
streams:
  orders:
    path: /orders
    incremental: {key: updated_at, start: {send: param:updated_after}}
  order_lines:
    path: /orders/{order_id}/lines
    version: updated_at
    parents: [{stream: orders, values: {order_id: $.id}, changed: {full_every: 7d}}]
""",
    ),
    Section(
        "Requests",
        [request_form.RequestForm, request_form.BodyForm],
        """
path: /search                     # relative to base_url, or absolute
method: POST                      # GET unless there is a body
params: {ids: [1, 2], arrays: repeat}
headers: {X-Version: 2024-10-15}
body: {json: {region: "{region}", sort: updated}}
""",
    ),
    Section(
        "Connections",
        [http.HttpOptions, http.Timeout],
        """
http:
  timeout: {connect: 10s, read: 60s, total: 15m}
  hosts: ["*.acme.example"]       # besides base_url's, these may see the credentials
  max_body: 256MB
""",
    ),
    Section(
        "Credentials",
        [
            auth.NoAuth, auth.Bearer, auth.Basic, auth.Key, auth.OAuth2, auth.OAuthClient,
            auth.Select,
        ],
        """
auth:
  type: oauth2
  grant: client_credentials
  token_url: https://login.acme.example/token
  client: {id: "{client_id}", secret: "{client_secret}", send: basic}
""",
    ),
    Section(
        "Budgets",
        [budget.Budget, budget.Limit, budget.Reset],
        """
budgets:
  all:
    limits:
      - {requests: 100, per: 1s}
      - {requests: 50000, per: 1d, reserve: 20%, spent: stop}
      - {concurrent: 8}
  search: {match: "POST /search/*", limits: [{requests: 5, per: 1s}]}
  learnt: {remaining: header:X-Remaining, reset: {take: header:X-Reset, as: delta_s}}
""",
    ),
    Section(
        "Retries",
        [retry.Retry],
        """
retry: {attempts: 8, first: 1s, max: 60s, total: 15m}
""",
    ),
    Section(
        "Responses",
        [responses.Rule],
        """
responses:                        # the first that fits; then the built-in ones
  - {status: 200, when: $.ok == false, then: fail, message: $.error}
  - {status: [403, 404], then: skip, scope: partition, max: 10%}
""",
    ),
    Section(
        "Streams",
        [model.Stream, model.TextVersion, fields.HashKey],
        """
primary_key: [id]
version: updated_at
schema:
  type: object
  required: [id, amount]
  properties:
    id: {type: integer}
    amount: {type: number}
    updated_at: {type: string, format: date-time}
on_new_field: evolve
on_invalid: reject
max_rejects: 5%
""",
    ),
    Section(
        "Lists",
        [records_form.RecordsForm, records_form.Records],
        """
records: {at: $.items, keyed: id} # an object of objects; $.data is a list
""",
    ),
    Section(
        "Pagination",
        [
            paginator.Paginator, paginator.Size, paginator.Cap, pagination.Single,
            pagination.PageNumber, pagination.Offset, pagination.Cursor, pagination.NextUrl,
            pagination.LinkHeader, pagination.Seek,
        ],
        """
pagination:
  {type: page, send: param:page, size: {send: param:per_page, value: 100}, pages: $.pages}
""",
    ),
    Section(
        "Fields",
        [fields.Fields],
        """
fields:
  lift: [$.properties]
  rename: {a: b}
  add: {place: "{region}"}
  parse: {created: epoch_s}
  keep_if: $.state != draft
  drop: [raw]
""",
    ),
    Section(
        "Incremental",
        [
            incremental.Incremental, incremental.ReplicationKey, incremental.StartBound,
            incremental.EndBound, incremental.Window,
        ],
        """
incremental:
  key: updated_at
  start: {send: param:updated_after, exclusive: false}
  end: {send: param:updated_before}
  first: 2020-01-01
  window: {size: 30d}
  lookback: 5m                    # read again before the watermark, every run
  lag: 1m                         # the watermark keeps this distance from the pass's start
""",
    ),
    Section(
        "Parents",
        [parents.Parent, parents.Changed, parents.ForEach],
        """
path: /orders/{order_id}/lines
parents: [{stream: orders, values: {order_id: $.id}, changed: {full_every: 7d}}]
""",
    ),
    Section(
        "Deletes",
        [deletes.Deletes, deletes.DeletedList, deletes.Sweep],
        """
deletes: {flag: $.status == archived, sweep: {every: 7d, max: 5%, allow: 0}}
""",
    ),
    Section(
        "Event logs",
        [events.EventLog, routes.EventTime, routes.Route, routes.Fetch],
        """
events:
  changes:
    path: /events
    pagination: {type: seek, field: id, send: param:after}
    incremental:
      {key: created, format: epoch_s, start: {send: param:since}, order: asc, retention: 30d}
    id: $.id
    type: $.type
    time: {take: $.created, format: epoch_s}
    routes:
      - {types: ["order.*"], stream: orders, record: $.data.object, deleted: [order.deleted]}
""",
    ),
    Section(
        "Webhooks",
        [
            webhook.WebhookSource, handshake.Handshake, handshake.Reply, handshake.Store,
            subscribe.Subscribe,
        ],
        """
webhooks:                         # POST /webhooks/<connector>/<source>
  main:
    signature: {type: hmac, header: X-Signature, secrets: ["{webhook_secret}"]}
    handshake: {when: $.type == url_verification, respond: {body: "{body.challenge}"}}
    id: header:X-Event-Id
    type: $.type
    time: {take: $.created, format: epoch_s}
    routes:
      - {types: ["order.*"], stream: orders, record: $.data.object, deleted: [order.deleted]}
    subscribe:
      create: {path: /hooks, body: {json: {url: "{callback}"}}}
      id: $.id
      lives: 7d
      delete: {path: "/hooks/{id}", method: DELETE}
""",
    ),
    Section(
        "Signatures",
        [
            proof.Secrets, signature.Signed, signature.Hmac, signature.Digest, signature.Ed25519,
            signature.EcdsaP256, proof.SharedToken, proof.BasicLogin, proof.Unsigned,
            signature.SecretKey, stamp.Stamp, stamp.SignedId, signed_text.SignedUrl,
            signed_text.BodyDigest,
        ],
        """
webhooks:
  main:
    signature:
      type: hmac
      header: X-Signature         # t=1700000000,v1=5257a869...
      items: ","
      pair: "="
      accept: [v1]
      template: "{ts}.{body}"
      timestamp: {pair: t, tolerance: 5m}
      secrets: ["{webhook_secret}"]
    routes: [{stream: orders, record: $.data}]
""",
    ),
)  # fmt: skip
