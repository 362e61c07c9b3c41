"""What a schema cannot say about a whole connector: names, parents, what they give."""

from __future__ import annotations

import re
from collections.abc import Mapping

from tap_saas.connector.bind import coerce
from tap_saas.connector.draft import Draft
from tap_saas.connector.incremental_check import check_column
from tap_saas.connector.lineage import ancestors, context, is_own_ancestor, shares_for_each
from tap_saas.connector.mistake import Findings, Where, alternatives
from tap_saas.connector.model import Setting, Stream
from tap_saas.connector.parents import Parent
from tap_saas.connector.place import Condition
from tap_saas.connector.request_check import check_form

RESERVED = frozenset({"start", "end", "now", "token"})
MAX_NAME_BYTES = 63

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def check_settings(settings: Mapping[str, Setting], findings: Findings) -> None:
    """Names, and defaults that fit their own rules."""
    for name, setting in settings.items():
        where = ("settings", name)
        if not NAME.fullmatch(name):
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
        own, has_bounds = context(draft.streams, name), stream.incremental is not None
        check_form(draft, stream, where, own, has_bounds=has_bounds)
        if stream.deletes is not None and stream.deletes.list_ is not None:
            at = (*where, "deletes", "list")
            check_form(draft, stream.deletes.list_, at, own, has_bounds=has_bounds)
        check_if(draft, stream.if_, where)
    if draft.connector.check is not None:
        check_form(draft, draft.connector.check, ("check",), ())


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
    if not NAME.fullmatch(name):
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
            _check_reading(draft, parent, stream, at)
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


def _check_reading(draft: Draft, parent: Parent, stream: Stream, where: Where) -> None:
    """Which parents are read, and how many at once."""
    tell = draft.findings.tell
    for name in ("changed", "since"):
        if getattr(parent, name) is not None and parent.stream is None:
            tell((*where, name), f"`{name}` goes with `stream`", "take it away")
    if parent.since is not None:
        check_column(parent.since, (*where, "since"), draft.findings)
    above = draft.streams.get(parent.stream or "")
    if parent.changed is not None and above is not None and above.incremental is None:
        what = f'"{parent.stream}" is always read whole, so all its records count as changed'
        do = f"add `incremental:` to {parent.stream}, or take `changed` away"
        tell((*where, "changed"), what, do)
    if parent.batch is None:
        return
    if len(parent.names) != 1:
        what = "a batch is a list of one value of each parent"
        tell((*where, "batch"), what, "name one value, or take `batch` away")
    elif parent.names[0] in stream.path.names:
        what = f"a batch is a list, and the path holds one {{{parent.names[0]}}}"
        tell((*where, "batch"), what, "send it in `params` or `body`, or take `batch` away")


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
        check_value_name(draft, inner, at, above | seen)
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


def check_value_name(draft: Draft, name: str, where: Where, others: set[str]) -> None:
    """Tell a placeholder whose name means something else already."""
    tell = draft.findings.tell
    if name in RESERVED:
        tell(where, f'the name "{name}" is taken', "use another name")
    elif not NAME.fullmatch(name):
        tell(where, f'"{name}" is not a name', "use letters, digits and _")
    elif name in draft.settings:
        tell(where, f'"{name}" hides the setting of that name', "use another name")
    elif name in others:
        tell(where, f'"{name}" hides a value of that name from another parent', "use another name")


def check_if(draft: Draft, condition: Condition | None, where: Where) -> None:
    """Tell what an `if` asks for that is no setting."""
    for place in condition.places if condition else ():
        name = place.path.keys[0] if place.path and place.path.keys else str(place)
        if name not in draft.settings:
            do = alternatives(name, draft.settings) or "declare it under `settings`"
            draft.findings.tell((*where, "if"), f'there is no setting "{name}"', do)
