"""The settings that we ship for target-postgres: right first, then fast.

| setting | why |
| --- | --- |
| `use_copy` | off: COPY is faster, but sends numeric through a float: 17 digits, `1.0` for 1 |
| `batch_size_rows` | rows of one transaction, kept in memory; the newest window covers as many |
| `validate_records` | off: the tap has checked every record, a second check costs 55 us each |
| `add_record_metadata` | the `_sdc_*` columns, without which neither guard nor deletes can work |
| `activate_version`, `hard_delete` | a full pass marks what it did not see, never removes it |
| `sanitize_null_text_characters` | off: the tap replaces U+0000, also deep in objects |
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from target_config.database import target_url

SETTINGS_FILE = Path(__file__).with_name("target-postgres.json")


def shipped() -> dict[str, Any]:
    """Return the settings of `target-postgres.json`, without a database URL."""
    settings: dict[str, Any] = json.loads(SETTINGS_FILE.read_text(encoding="utf-8"))
    return settings


def target_settings(
    database_url: str, *, schema: str | None = None, settings: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a whole configuration for target-postgres; `settings` beat ours, `schema` beats both.

    Raises: `TargetConfigError` for a URL that is not PostgreSQL's.
    """
    merged = {**shipped(), **(settings or {}), "sqlalchemy_url": target_url(database_url)}
    if schema is not None:
        merged["default_target_schema"] = schema
    return merged


def meltano_config() -> dict[str, Any]:
    """Return the `config:` of target-postgres in a meltano.yml.

    TARGET_POSTGRES_SQLALCHEMY_URL gives the URL, the extractor's `load_schema` the schema.
    """
    return {**shipped(), "default_target_schema": "$MELTANO_EXTRACT__LOAD_SCHEMA"}


def write_config(path: Path, settings: Mapping[str, Any]) -> Path:
    """Write a configuration file that only its owner can read (it holds the password)."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(settings, file, indent=2)
        file.write("\n")
    return path
