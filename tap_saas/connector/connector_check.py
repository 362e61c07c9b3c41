"""What a schema cannot say about a whole connector: names, placeholders, parents, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tap_saas.connector.auth import NoAuth, OAuth2, Select
from tap_saas.connector.bind import coerce
from tap_saas.connector.decoding import members
from tap_saas.connector.http import is_private
from tap_saas.connector.lineage import ancestors, context, is_own_ancestor, shares_for_each
from tap_saas.connector.mistake import Findings, Where, alternatives
from tap_saas.connector.model import Connector, Setting, Stream
from tap_saas.connector.parents import Parent
from tap_saas.connector.request_form import Params, RequestForm
from tap_saas.connector.template import Template, Tree

RESERVED = frozenset({"start", "end", "now", "token"})
MAX_NAME_BYTES = 63

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A connector as far as it could be read.

    `names` are all its streams, `streams` those that could be read and are switched on, `used` the
    names of settings that appear anywhere.
    """

    connector: Connector
    streams: dict[str, Stream]
    names: tuple[str, ...]
    off: frozenset[str]
    used: frozenset[str]
    values: Mapping[str, Any]
    samples: frozenset[str]
    findings: Findings

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What a user gives."""
        return self.connector.settings


def check_settings(settings: Mapping[str, Setting], findings: Findings) -> None:
    """Names, and defaults that fit their own rules."""
    for name, setting in settings.items():
        where = ("settings", name)
        if not _NAME.fullmatch(name):
            do = "use letters, digits and _, and begin with a letter"
            findings.tell(where, f'"{name}" is not a name', do)
        elif name in RESERVED:
            findings.tell(where, f'the name "{name}" is taken', "use another name")
        if setting.pattern is not None:
            _check_pattern(setting.pattern, (*where, "pattern"), findings)
        if setting.default is not None:
            _check_default(setting, where, findings)


def check_draft(draft: Draft) -> None:
    """Tell every mistake that is not one stream's own."""
    for name in draft.settings:
        if name not in draft.used and not draft.findings.is_touched(("settings", name)):
            what = f'the setting "{name}" is not used'
            draft.findings.tell(("settings", name), what, "take it away", "warning")
    for name in draft.names:
        _check_name(name, draft.findings)
    for name, stream in draft.streams.items():
        where = ("streams", name)
        _check_parents(draft, name, where)
        if not is_own_ancestor(draft.streams, name):
            _check_context(draft, name, where)
        _check_placeholders(draft, stream, where, context(draft.streams, name))
        _check_if(draft, stream, where)
        _check_addresses(draft, stream, where)
        _check_select(draft, stream, where)
    if draft.connector.check is not None:
        _check_placeholders(draft, draft.connector.check, ("check",), ())
        _check_addresses(draft, draft.connector.check, ("check",))
        _check_select(draft, draft.connector.check, ("check",))


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


def _check_pattern(pattern: str, where: Where, findings: Findings) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        findings.tell(where, f"the pattern is no regular expression: {error}", "correct it")


def _check_default(setting: Setting, where: Where, findings: Findings) -> None:
    try:
        coerce(setting, setting.default)
    except (ValueError, re.error) as error:
        what, _, do = str(error).partition("; ")
        findings.tell((*where, "default"), f"the default {what}", do or None)


def _check_name(name: str, findings: Findings) -> None:
    where = ("streams", name)
    if not _NAME.fullmatch(name):
        do = f"name it {re.sub(r'[^A-Za-z0-9_]+', '_', name).strip('_') or 'orders'}"
        what = f'"{name}" cannot be the name of a table: only letters, digits and _ are safe'
        findings.tell(where, what, do)
    elif name.startswith("_"):
        findings.tell(where, f'"{name}" begins with _, as only our own streams do', "rename it")
    elif len(name.encode()) > MAX_NAME_BYTES:
        what = f"the name has {len(name.encode())} bytes, a table's at most {MAX_NAME_BYTES}"
        findings.tell(where, what, "shorten it")


def _check_parents(draft: Draft, name: str, where: Where) -> None:
    stream = draft.streams[name]
    for n, parent in enumerate(stream.parents):
        at = (*where, "parents", n)
        if not draft.findings.is_touched(at):
            _check_parent(draft, parent, at)
    from_streams = [n for n, parent in enumerate(stream.parents) if parent.stream is not None]
    for n in from_streams[1:]:
        what = "a second parent stream cannot be combined with the first"
        do = "make it the parent of the first one, or use a list"
        draft.findings.tell((*where, "parents", n), what, do)
    if is_own_ancestor(draft.streams, name):
        way = ", ".join(above for above in ancestors(draft.streams, name))
        what = f'"{name}" is its own parent' + (f", over {way}" if way else "")
        draft.findings.tell((*where, "parents"), what, "take one parent away")


def _check_parent(draft: Draft, parent: Parent, where: Where) -> None:
    tell = draft.findings.tell
    if (parent.stream is None) == (parent.list_ is None):
        tell(where, "a parent is either a stream or a list", "keep one of `stream:` and `list:`")
    elif parent.stream is None:
        if parent.as_ is None:
            tell(where, "the values of the list have no name", "add `as:`")
        if parent.values:
            tell((*where, "values"), "`values` goes with `stream`", "take it away")
    else:
        if not parent.values:
            tell(where, "no value of the parent is used", "add `values: {name: $.path}`")
        if parent.as_ is not None:
            tell((*where, "as"), "`as` goes with `list`", "use `values`")
        _check_parent_stream(draft, parent.stream, (*where, "stream"))
    for name, path in parent.values.items():
        if "*" in str(path):
            tell((*where, "values", name), f"{path} is a list of values", "give the path of one")


def _check_parent_stream(draft: Draft, name: str, where: Where) -> None:
    if name in draft.off:
        what = f'the stream "{name}" is switched off by its `if`'
        draft.findings.tell(where, what, "give this stream the same `if`")
    elif name not in draft.names:
        what = f'there is no stream "{name}"'
        draft.findings.tell(where, what, alternatives(name, draft.names))


def _check_context(draft: Draft, name: str, where: Where) -> None:
    """Each name means one thing; and a request that needs none of them is asked for in vain."""
    stream = draft.streams[name]
    above = {
        inner
        for parent in ancestors(draft.streams, name)
        for inner in context(draft.streams, parent)
    }
    own: list[tuple[Where, str]] = []
    for n, parent in enumerate(stream.parents):
        at = (*where, "parents", n)
        own += [((*at, "as"), inner) for inner in parent.names if parent.as_ is not None]
        own += [((*at, "values", inner), inner) for inner in parent.values if parent.as_ is None]
    if stream.for_each is not None:
        _check_for_each(draft, stream.for_each.setting, (*where, "for_each", "setting"))
        if not shares_for_each(draft.streams, name):
            own.append(((*where, "for_each", "as"), stream.for_each.as_))
    seen: set[str] = set()
    for at, inner in own:
        _check_value_name(draft, inner, at, above | seen)
        seen.add(inner)
    if (
        seen
        and not seen & (stream.names | _auth_names(stream))
        and not draft.findings.is_touched(where)
    ):
        told = ", ".join(f"{{{inner}}}" for inner in sorted(seen))
        at = (*where, "parents") if stream.parents else (*where, "for_each")
        what = f"the request uses none of {told}, so every one gives the same records"
        draft.findings.tell(at, what, f"put {told} into `path` or `params`", "warning")


def _auth_names(stream: Stream) -> frozenset[str]:
    return frozenset().union(*(scheme.names for scheme in stream.auth))


def _check_for_each(draft: Draft, name: str, where: Where) -> None:
    setting = draft.settings.get(name)
    if setting is None:
        what = f'there is no setting "{name}"'
        draft.findings.tell(where, what, alternatives(name, draft.settings) or "declare it")
    elif setting.type != "array":
        what = f'the setting "{name}" is no list'
        draft.findings.tell(where, what, "give it `type: array`")


def _check_value_name(draft: Draft, name: str, where: Where, others: set[str]) -> None:
    tell = draft.findings.tell
    if name in RESERVED:
        tell(where, f'the name "{name}" is taken', "use another name")
    elif not _NAME.fullmatch(name):
        tell(where, f'"{name}" is not a name', "use letters, digits and _")
    elif name in draft.settings:
        tell(where, f'"{name}" hides the setting of that name', "use another name")
    elif name in others:
        tell(where, f'"{name}" hides a value of that name from another parent', "use another name")


def _check_placeholders(
    draft: Draft, form: RequestForm, where: Where, own: tuple[str, ...]
) -> None:
    known = {*draft.settings, *own, "now"}
    everywhere = known.union(*(context(draft.streams, name) for name in draft.streams))
    if isinstance(form, Stream) and form.incremental is not None:
        known |= {"start", "end"}
    if any(isinstance(scheme, OAuth2) for scheme in _schemes(form.auth)):
        known.add("token")
    for at, text, names in placeholders(form, where):
        allowed = everywhere if "budgets" in at else known
        for name in sorted(names - allowed):
            _tell_unknown(draft, at, text, name, known)


def _tell_unknown(draft: Draft, where: Where, text: str, name: str, known: set[str]) -> None:
    tell = draft.findings.tell
    shown = text if len(text) <= MAX_NAME_BYTES else f"{{{name}}}"
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


def _check_if(draft: Draft, stream: Stream, where: Where) -> None:
    for place in stream.if_.places if stream.if_ else ():
        name = place.path.keys[0] if place.path and place.path.keys else str(place)
        if name not in draft.settings:
            do = alternatives(name, draft.settings) or "declare it under `settings`"
            draft.findings.tell((*where, "if"), f'there is no setting "{name}"', do)


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
    parts = urlsplit(url)
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


def _schemes(auth: list[Any]) -> Iterator[Any]:
    """All schemes, those in branches too."""
    for scheme in auth:
        if isinstance(scheme, Select):
            for branch in scheme.of.values():
                yield from _schemes(branch if isinstance(branch, list) else [branch])
        else:
            yield scheme
