"""The reference of the connector language as a page, made from the model and its docstrings."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import msgspec.inspect as mi

from tap_saas.connector.records_form import Records
from tap_saas.connector.reference import described
from tap_saas.connector.reference_sections import INTRO, SECTIONS, TITLES, Part, Section
from tap_saas.connector.request_form import Params
from tap_saas.connector.units import ByteSize, Duration, Percent, format_duration

WIDTH = 120
_NOTHING = ("", "None", "()", "[]", "{}")
_SECTION_OF: Mapping[type, Section] = {part: one for one in SECTIONS for part in one.parts}


def page() -> str:
    """The page, in Markdown: each key with its type, its default and what it says."""
    lines = ["# The connector language", INTRO]
    for section in SECTIONS:
        lines += [f"## {section.title}\n", f"```yaml{section.example}```\n"]
        lines += [line for part in section.parts for line in _part(part)]
    lines += [
        "## Notations\n",
        *(_item(f"- **{_words(n)}**: {described(n)[0]}") for n in _notations()),
    ]
    return "\n".join(lines) + "\n"


def _part(part: Part) -> Iterator[str]:
    about, said = described(part)
    info = _info(part)
    yield f"### {_title(part)}\n"
    is_base = part in TITLES and info.tag_field is not None
    if not is_base:
        yield textwrap.fill(about, WIDTH, break_on_hyphens=False) + "\n"
    own = inspect.get_annotations(part)
    lines = [f"- **`{info.tag_field}: {info.tag}`**"] if info.tag_field and not is_base else []
    lines += [_key(one, said) for one in info.fields if one.name in own and one.encode_name in said]
    above = [
        f"[{_title(base)}](#{_anchor(base)})" for base in part.__mro__[1:] if base in _SECTION_OF
    ]
    lines += [_item(f"- and the keys of {' and of '.join(above)}")] if above else []
    yield "\n".join(lines) + "\n"


def _notations() -> list[type]:
    """The notations that keys have, in the order in which one meets them."""
    found: dict[type, None] = {}
    for section in SECTIONS:
        for part in section.parts:
            for field in _info(part).fields:
                found |= dict.fromkeys(_custom(field.type))
    return list(found)


def _custom(info: mi.Type) -> Iterator[type]:
    match info:
        case mi.CustomType():
            yield info.cls
        case mi.Metadata():
            yield from _custom(info.type)
        case mi.UnionType():
            for one in info.types:
                yield from _custom(one)
        case mi.ListType() | mi.VarTupleType():
            yield from _custom(info.item_type)
        case mi.DictType():
            yield from _custom(info.value_type)


def _info(part: Part) -> mi.StructType:
    info = mi.type_info(part)
    assert isinstance(info, mi.StructType)
    return info


def _key(field: mi.Field, said: Mapping[str, str]) -> str:
    default = _default(field)
    kinds = ", ".join(filter(None, [_kind(field.type), default]))
    return _item(f"- **`{field.encode_name}`** ({kinds}): {said[field.encode_name]}")


def _default(field: mi.Field) -> str:
    if field.required:
        return "needed"
    made = field.default_factory
    value = field.default if made is msgspec.NODEFAULT else made()
    text = _yaml(value)
    return f"default `{text}`" if text not in _NOTHING else ""


def _yaml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Duration():
            return format_duration(value)
        case Percent():
            return f"{value:.0%}"
        case ByteSize():
            return f"{value // 10**6}MB"
        case list():
            return f"[{', '.join(map(_yaml, value))}]"
        case Params():
            return _yaml(value.tree)
        case Records():
            return str(value.at)
        case msgspec.Struct():
            return ""
        case _:
            return str(value)


def _kind(info: mi.Type) -> str:
    match info:
        case mi.Metadata():
            return _short(info)
        case mi.StructType():
            return _link(info.cls)
        case mi.CustomType():
            return f"[{_words(info.cls)}](#notations)"
        case mi.UnionType():
            return _union(info)
        case mi.ListType() | mi.VarTupleType():
            return f"list of {_kind(info.item_type)}"
        case mi.DictType():
            return f"map of {_kind(info.value_type)}"
        case mi.LiteralType():
            return _either([f"`{value}`" for value in info.values])
        case _:
            return _PLAIN[type(info)]


_PLAIN: Mapping[type[mi.Type], str] = {
    mi.StrType: "text",
    mi.IntType: "whole number",
    mi.FloatType: "number",
    mi.BoolType: "true or false",
    mi.AnyType: "any value",
    mi.NoneType: "",
}


def _short(info: mi.Metadata) -> str:
    long = _kind(info.type)
    short = (info.extra or {}).get("short")
    if short is None:
        return long
    if isinstance(info.type, mi.ListType):
        return f"{_kind(info.type.item_type)} or a list of them"
    return f"{long} or its `{short}` alone"


def _union(info: mi.UnionType) -> str:
    structs = [one for one in info.types if isinstance(one, mi.StructType)]
    if len(structs) > 1 and structs[0].tag_field:
        section = _SECTION_OF[structs[0].cls].title
        kinds = [f"one of [{section}](#{section.lower()})"]
    else:
        kinds = [_kind(one) for one in structs]
    kinds += [_kind(one) for one in info.types if not isinstance(one, mi.StructType)]
    return _either([kind for kind in kinds if kind])


def _either(kinds: Sequence[str]) -> str:
    *most, last = kinds
    return f"{', '.join(most)} or {last}" if most else last


def _link(part: type) -> str:
    return f"[{_title(part)}](#{_anchor(part)})"


def _title(part: type) -> str:
    return TITLES.get(part) or _words(part)


def _words(kind: type) -> str:
    """`StartBound` as "start bound"."""
    name = kind.__name__.removesuffix("Form")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()


def _anchor(part: type) -> str:
    """The anchor that renderers of Markdown give the part's heading."""
    return _title(part).replace(" ", "-")


def _item(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
