"""The settings that we ship are ones that target-postgres knows."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest
from singer_lines import EXECUTABLE

from target_config.errors import TargetConfigError
from target_config.settings import meltano_config, shipped, target_settings, write_config

URL = "postgresql://me:s3cret@db.example:5433/warehouse?sslmode=require"


def test_every_setting_is_known_to_the_target_and_of_its_type() -> None:
    about = subprocess.run(
        [str(EXECUTABLE), "--about", "--format=json"], capture_output=True, text=True, check=True
    )
    known = json.loads(about.stdout)["settings"]["properties"]
    kinds = {bool: "boolean", int: "integer", str: "string"}
    for name, value in shipped().items():
        assert kinds[type(value)] in known[name]["type"], name


def test_promises_that_the_settings_keep() -> None:
    settings = shipped()
    assert settings["add_record_metadata"], "guard and deletes need the _sdc_ columns"
    assert settings["activate_version"]
    assert not settings["hard_delete"], "a removed row is marked, never lost"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_the_url_is_one_for_copy(scheme: str) -> None:
    settings = target_settings(URL.replace("postgresql", scheme), schema="shop")
    assert settings["sqlalchemy_url"] == URL.replace("postgresql", "postgresql+psycopg")
    assert settings["default_target_schema"] == "shop"


def test_own_settings_beat_the_shipped_ones() -> None:
    settings = target_settings(URL, settings={"use_copy": False, "default_target_schema": "a"})
    assert settings["use_copy"] is False
    assert settings["default_target_schema"] == "a"


def test_another_database_is_refused_without_its_password() -> None:
    with pytest.raises(TargetConfigError, match="not one of PostgreSQL") as caught:
        target_settings("mysql://me:s3cret@db/x")
    assert "s3cret" not in str(caught.value)


def test_meltano_has_the_same_settings_and_the_schema_of_the_extractor() -> None:
    config = meltano_config()
    assert config.pop("default_target_schema") == "$MELTANO_EXTRACT__LOAD_SCHEMA"
    assert config == {k: v for k, v in shipped().items() if k != "default_target_schema"}


def test_only_the_owner_can_read_a_written_configuration(tmp_path: Path) -> None:
    path = tmp_path / "target-postgres.json"
    path.write_text("old, and open to all")
    written = write_config(path, target_settings(URL))
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert json.loads(written.read_text()) == target_settings(URL)
