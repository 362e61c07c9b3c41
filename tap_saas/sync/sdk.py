"""The only place that touches names which singer-sdk keeps private (0.54)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from singer_sdk import Stream, Tap
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import MaxRecordsLimitException
from singer_sdk.helpers._catalog import get_selected_schema
from singer_sdk.mapper import RemoveRecordTransform, SameRecordTransform

from tap_saas.sync.writer import ENCODER, PageWriter


def unreadable_variables(schema: dict[str, Any], prefix: str) -> list[str]:
    """The names of the environment variables that the SDK cannot read as settings."""
    wrong = []
    for name, form in schema["properties"].items():
        try:
            parse_environment_config({"properties": {name: form}}, prefix)
        except (ValueError, RecursionError):
            wrong.append(f"{prefix}{name.upper()}")
    return wrong


class StateLine:
    """Writes STATE, once for each different state, as the SDK's own writer does but without copying
    it.

    `size` is that of the last line in bytes.
    """

    def __init__(self, writer: PageWriter) -> None:
        self._writer = writer
        self._last = b""

    @property
    def size(self) -> int:
        """Bytes of the last STATE."""
        return len(self._last)

    def write_state(self, state: dict[str, Any]) -> None:
        """Write the state where it is not the one that was written last."""
        line = ENCODER.encode(state)
        if line != self._last:
            self._writer.write_page(b'{"type":"STATE","value":' + line + b"}\n")
            self._writer.flush()
            self._last = line


def install_state_line(tap: Tap) -> StateLine:
    """Let the whole tap write STATE through a `StateLine`."""
    line = StateLine(tap.message_writer)  # type: ignore[arg-type]
    tap._state_writer = line  # type: ignore[assignment]
    return line


def is_plain(stream: Stream) -> bool:
    """True where the SDK's machinery for each record would change nothing."""
    maps = stream.stream_maps
    return (
        len(maps) == 1
        and isinstance(maps[0], SameRecordTransform)
        and maps[0].stream_alias == stream.name
        and not maps[0].flattening_enabled
        and not any(
            len(crumb) > 2 and not on and stream.mask[crumb[:2]]
            for crumb, on in stream.mask.items()
        )
    )


def dropped(stream: Stream, names: Iterable[str]) -> frozenset[str]:
    """The top-level columns that selection leaves out."""
    return frozenset(name for name in names if not stream.mask["properties", name])


def register_schema(stream: Stream, schema: dict[str, Any]) -> None:
    """Let the mapper, and so SCHEMA, know the stream's present schema, selection applied."""
    selected = get_selected_schema(stream.name, schema, stream.mask)
    annotations = {name: value for name, value in schema.items() if name.startswith("x-")}
    stream._tap.mapper.register_raw_stream_schema(
        stream.name, {**selected, **annotations}, stream.primary_keys
    )
    stream._stream_maps = None


def register_whole(stream: Stream) -> None:
    """Let the mapper know all columns of a stream, whatever a catalog leaves out."""
    if stream._stream_maps is None:
        stream._tap.mapper.register_raw_stream_schema(
            stream.name, stream.schema, stream.primary_keys
        )


def schema_lines(stream: Stream) -> bytes:
    """The SCHEMA messages of a stream and its aliases; deterministic, each a line."""
    bookmark = [stream.replication_key] if stream.replication_key else None
    lines = []
    for mapped in stream.stream_maps:
        if isinstance(mapped, RemoveRecordTransform):
            continue
        message: dict[str, Any] = {
            "type": "SCHEMA",
            "stream": mapped.stream_alias,
            "schema": mapped.transformed_schema,
            "key_properties": list(mapped.transformed_key_properties or []),
        }
        if bookmark:
            message["bookmark_properties"] = bookmark
        lines.append(ENCODER.encode(message) + b"\n")
    return b"".join(lines)


def mapped_lines(
    stream: Stream, rows: Iterable[dict[str, Any]], version: int | None = None
) -> bytes:
    """The RECORD messages of rows that stream maps, flattening or nested selection change."""
    writer: Any = stream._tap.message_writer
    lines = bytearray()
    for row in rows:
        for message in stream._generate_record_messages(row):
            message.version = version
            lines += writer.format_message(message)
    return bytes(lines)


def activation_lines(stream: Stream, version: int) -> bytes:
    """The ACTIVATE_VERSION messages of a stream and its aliases."""
    return b"".join(
        ENCODER.encode(
            {"type": "ACTIVATE_VERSION", "stream": mapped.stream_alias, "version": version}
        )
        + b"\n"
        for mapped in stream.stream_maps
        if not isinstance(mapped, RemoveRecordTransform)
    )


def mark_changed(stream: Stream) -> None:
    """The bookmark has changed: the SDK's next chance writes it."""
    stream.state_manager.is_flushed = False


def live_state(tap: Tap) -> dict[str, Any]:
    """The state that STATE messages are made from."""
    state: dict[str, Any] = tap.state  # type: ignore[assignment]
    return state


def abort_dry_run(stream: Stream, limit: int) -> None:
    """End a stream under `--test`, as the SDK expects it."""
    stream._abort_sync(MaxRecordsLimitException(f"dry run record limit ({limit}) reached"))


def catalog_columns(stream: Stream) -> dict[str, Any]:
    """The properties of the catalog that was passed, `{}` without one."""
    schema = stream._input_schema or {}
    properties: dict[str, Any] = schema.get("properties", {})
    return properties


def to_plain(row: Any) -> dict[str, Any]:
    """A row of either lane as a dict."""
    plain: dict[str, Any] = row if isinstance(row, dict) else msgspec.to_builtins(row)
    return plain
