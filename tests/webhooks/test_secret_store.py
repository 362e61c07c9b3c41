"""The store of secrets: a door is used once, in its time; what came through it is known by it."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tap_saas.errors import StateError
from tap_saas.redact import Redactor
from tap_saas.webhooks.roster import Roster
from tap_saas.webhooks.secret_store import FILE, KEPT, Held, SecretStore

SOURCE, SETTING = "acme/main", "hook_secret"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "home")


def texts(store: SecretStore) -> list[str]:
    return store.of(SOURCE).texts(SETTING)


def bring(store: SecretStore, text: str) -> str:
    """Let a secret come; its opening."""
    opening = store.open(SOURCE, MINUTE, NOW)
    assert store.take(SOURCE, SETTING, text, NOW)
    return opening


def test_without_a_door_nothing_comes_and_nothing_is_made(
    store: SecretStore, tmp_path: Path
) -> None:
    assert store.read() == {}
    assert store.stamp() is None
    assert not store.take(SOURCE, SETTING, "a-secret", NOW)
    assert not (tmp_path / "home" / FILE).exists()


def test_a_door_is_used_once(store: SecretStore, tmp_path: Path) -> None:
    opening = store.open(SOURCE, MINUTE, NOW)
    with ThreadPoolExecutor(8) as threads:
        taken = list(
            threads.map(lambda n: store.take(SOURCE, SETTING, f"secret-{n}", NOW), range(8))
        )
    assert taken.count(True) == 1
    came = SecretStore(tmp_path / "home").of(SOURCE).came(opening)
    assert came is not None
    assert came.text == f"secret-{taken.index(True)}"
    assert store.of(SOURCE).door is None


def test_a_door_is_of_one_source_and_of_its_time(store: SecretStore) -> None:
    store.open(SOURCE, MINUTE, NOW)
    assert not store.take("acme/other", SETTING, "a-secret", NOW)
    assert not store.take(SOURCE, SETTING, "a-secret", NOW + MINUTE)
    assert store.take(SOURCE, SETTING, "a-secret", NOW + MINUTE - timedelta(seconds=1))


def test_a_closed_door_lets_none_in_and_closes_no_other(store: SecretStore) -> None:
    first = store.open(SOURCE, MINUTE, NOW)
    store.open(SOURCE, MINUTE, NOW)
    store.close(SOURCE, first)
    assert store.take(SOURCE, SETTING, "a-secret", NOW)
    store.close(SOURCE, store.open(SOURCE, MINUTE, NOW))
    assert not store.take(SOURCE, SETTING, "another", NOW)
    assert texts(store) == ["a-secret"]


def test_the_newest_are_kept_the_newest_first(store: SecretStore) -> None:
    for n in range(KEPT + 2):
        bring(store, f"secret-{n}")
    assert texts(store) == [f"secret-{n}" for n in range(KEPT + 1, 1, -1)]
    bring(store, "secret-5")
    assert texts(store)[:2] == ["secret-5", f"secret-{KEPT + 1}"]
    assert len(texts(store)) == len(set(texts(store))) == KEPT


def test_what_is_withdrawn_is_what_was_new(store: SecretStore) -> None:
    bring(store, "a-secret")
    store.close(SOURCE, bring(store, "of-a-stranger"), withdraw=True)
    assert texts(store) == ["a-secret"]
    store.close(SOURCE, bring(store, "a-secret"), withdraw=True)
    assert texts(store) == ["a-secret"]


def test_forgetting_leaves_the_door_open(store: SecretStore) -> None:
    bring(store, "a-secret")
    store.open(SOURCE, MINUTE, NOW)
    assert (store.forget(SOURCE), texts(store)) == (1, [])
    assert store.take(SOURCE, SETTING, "another", NOW)


def test_the_files_are_for_their_owner(store: SecretStore, tmp_path: Path) -> None:
    bring(store, "a-secret")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "home").iterdir()}
    assert set(modes.values()) == {0o600}
    assert set(modes) == {FILE, "webhook_secrets.lock"}


def test_a_broken_file_is_told_without_what_is_in_it(store: SecretStore, tmp_path: Path) -> None:
    bring(store, "a-secret")
    (tmp_path / "home" / FILE).write_text('{"acme/main": {"secrets": [{"text": "a-secret"}]}}')
    with pytest.raises(StateError, match="the file of secrets is broken") as told:
        store.read()
    assert "a-secret" not in str(told.value) + str(told.value.__cause__)
    with pytest.raises(StateError, match="broken"):
        store.open(SOURCE, MINUTE, NOW)


def test_without_sources_that_need_it_the_file_is_never_read(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    assert Roster({}, SecretStore(tmp_path), Redactor()).sources == {}


def test_a_source_of_which_nothing_is_known(store: SecretStore) -> None:
    assert store.of(SOURCE) == Held()
    assert store.forget(SOURCE) == 0
