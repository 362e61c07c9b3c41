"""What a schema cannot say about one request of a connector: its placeholders and addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tap_saas.connector.auth import NoAuth, OAuth2, Select
from tap_saas.connector.decoding import members
from tap_saas.connector.draft import Draft
from tap_saas.connector.http import is_private
from tap_saas.connector.lineage import context
from tap_saas.connector.mistake import Where, alternatives
from tap_saas.connector.request_form import Params, RequestForm
from tap_saas.connector.template import Template, Tree

MAX_SHOWN = 63
_CREDENTIAL = re.compile(
    r"(proxy-)?authorization|cookie|.*\bapi[-_]?key|.*\b(access|auth|private|secret)[-_]?token"
    r"|.*\b(client[-_]?)?secret|password",
    re.IGNORECASE,
)
"""Names of headers and parameters that nothing but a credential has."""


def check_form(
    draft: Draft, form: RequestForm, where: Where, own: tuple[str, ...], *, has_bounds: bool = False
) -> None:
    """Tell every mistake of a request that needs the whole connector to be seen.

    `own` are the placeholders that it has besides the settings, `has_bounds` start and end too.
    """
    known = {*draft.settings, *own, "now", *(("start", "end") if has_bounds else ())}
    if any(isinstance(scheme, OAuth2) for scheme in _schemes(form.auth)):
        known.add("token")
    check_placeholders(draft, form, where, known)
    _check_addresses(draft, form, where)
    _check_select(draft, form, where)
    _check_written(draft, form, where)


def check_placeholders(draft: Draft, part: Any, where: Where, known: set[str]) -> None:
    """Tell each placeholder of a part of the model that nothing gives a value."""
    everywhere = known.union(*(context(draft.streams, name) for name in draft.streams))
    for at, text, names in placeholders(part, where):
        allowed = everywhere if "budgets" in at else known
        for name in sorted(names - allowed):
            _tell_unknown(draft, at, text, name, known)


def placeholders(value: Any, where: Where) -> Iterator[tuple[Where, str, frozenset[str]]]:
    """Every text with placeholders in a part of the model: its place, itself, and their names."""
    if isinstance(value, Params):
        yield from _in_tree(value.tree.raw, where)
    elif isinstance(value, Tree):
        yield from _in_tree(value.raw, where)
    elif isinstance(value, Template):
        yield where, str(value), value.names
    elif isinstance(value, msgspec.Struct):
        for name, inner in members(value):
            yield from placeholders(inner, (*where, name))
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from placeholders(inner, (*where, key))
    elif isinstance(value, list | tuple):
        for n, inner in enumerate(value):
            yield from placeholders(inner, (*where, n))


def _in_tree(raw: Any, where: Where) -> Iterator[tuple[Where, str, frozenset[str]]]:
    if isinstance(raw, str):
        yield where, raw, Template.parse(raw).names
    elif isinstance(raw, dict):
        for key, inner in raw.items():
            yield from _in_tree(inner, (*where, key))
    elif isinstance(raw, list):
        for n, inner in enumerate(raw):
            yield from _in_tree(inner, (*where, n))


def _tell_unknown(draft: Draft, where: Where, text: str, name: str, known: set[str]) -> None:
    tell = draft.findings.tell
    shown = text if len(text) <= MAX_SHOWN else f"{{{name}}}"
    if name in ("start", "end"):
        take = f"take {{{name}}} away"
        do = take if where[0] == "check" else f"add `incremental:` or {take}"
        tell(where, f'"{shown}" needs `incremental`', do)
    elif name == "token":
        tell(where, f'"{shown}" needs an OAuth token', "use `auth: {type: oauth2}` or take it away")
    else:
        near = alternatives(name, known)
        did = near if near and near.startswith("did") else f"add {name} to `settings`"
        tell(where, f'"{shown}" has the unknown placeholder {{{name}}}', did)


def _check_addresses(draft: Draft, form: RequestForm, where: Where) -> None:
    tell = draft.findings.tell
    relative = not re.match(r"(?i)https?://", str(form.path))
    if form.base_url is None:
        if relative and not draft.findings.is_touched(("base_url",)):
            tell(
                (*where, "path"),
                "the path is relative, but there is no base_url",
                "add `base_url:`",
            )
        return
    has_auth = any(not isinstance(scheme, NoAuth) for scheme in _schemes(form.auth))
    _check_url(draft, form.base_url, (*where, "base_url"), secret=has_auth)
    if not relative:
        _check_url(draft, form.path, (*where, "path"), secret=has_auth)
    for n, scheme in enumerate(form.auth):
        if isinstance(scheme, OAuth2):
            _check_url(draft, scheme.token_url, (*where, "auth", n, "token_url"), secret=True)


def _check_url(draft: Draft, template: Template, where: Where, *, secret: bool) -> None:
    if template.names & draft.samples:
        return
    try:
        url = template.fill(draft.values)
    except ValueError as error:
        what, _, do = str(error).partition("; ")
        draft.findings.tell(where, what, do or None)
        return
    if not isinstance(url, str):
        return
    try:
        parts = urlsplit(url)
    except ValueError as error:
        draft.findings.tell(where, f'"{url}" is no address ({error})', "begin with https://")
        return
    if parts.scheme not in ("http", "https") or not parts.netloc:
        draft.findings.tell(where, f'"{url}" is no address', "begin with https://")
    elif secret and not is_private(url):
        what = f"credentials would go over plain http to {parts.netloc}, readable on the way"
        draft.findings.tell(where, what, "write https://")


def _check_select(draft: Draft, form: RequestForm, where: Where) -> None:
    for n, scheme in enumerate(form.auth):
        if isinstance(scheme, Select):
            _check_branches(draft, scheme, (*where, "auth", n))


def _check_branches(draft: Draft, select: Select, where: Where) -> None:
    setting = draft.settings.get(select.by)
    if setting is None:
        do = alternatives(select.by, draft.settings) or "declare it under `settings`"
        draft.findings.tell((*where, "by"), f'there is no setting "{select.by}"', do)


def _check_written(draft: Draft, form: RequestForm, where: Where) -> None:
    """A secret belongs into the environment, not into a file that others read."""
    written = [
        ("auth", n)
        for n, scheme in enumerate(form.auth)
        if any(not one.names and not isinstance(one, NoAuth) for one in _schemes([scheme]))
    ]
    for key, tree in (("headers", form.headers), ("params", form.params.tree)):
        for name, value in tree.raw.items() if isinstance(tree.raw, dict) else ():
            is_text = isinstance(value, str) and value != "" and not Template.parse(value).names
            if is_text and _CREDENTIAL.fullmatch(str(name)):
                written.append((key, name))
    for at in written:
        do = 'make it a setting with `secret: true` and `env:`, and write "{api_key}"'
        what = "the credential is written in this file, or in a setting that is no secret"
        draft.findings.tell((*where, *at), what, do, "warning")


def _schemes(auth: list[Any]) -> Iterator[Any]:
    """All schemes, those in branches too."""
    for scheme in auth:
        if isinstance(scheme, Select):
            for branch in scheme.of.values():
                yield from _schemes(branch if isinstance(branch, list) else [branch])
        else:
            yield scheme
