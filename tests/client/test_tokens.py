"""The token store: nobody spends a refresh token twice, and nothing is used before it is kept."""

from __future__ import annotations

import multiprocessing
import os
import stat
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.synchronize import Event as ProcessEvent
from pathlib import Path

import pytest

from tap_saas.client.limiter import StoppedError
from tap_saas.client.tokens import TokenStore, chain_name
from tap_saas.connector.token import Token
from tap_saas.errors import ConfigError, CredentialError

NOW = datetime(2025, 3, 1, 12, 0, tzinfo=UTC)
SPAWN = multiprocessing.get_context("spawn")


def token(number: int) -> Token:
    return Token(
        access_token=f"a{number}", obtained_at=NOW, refresh_token=f"r{number}", answer={"n": number}
    )


def store(folder: Path | None) -> TokenStore:
    return TokenStore(folder, threading.Event())


def rotating(spent: list[str | None]) -> Callable[[Token | None], Token]:
    """A token endpoint that notes which refresh token was spent and gives the next one."""

    def fetch(stored: Token | None) -> Token:
        spent.append(None if stored is None else stored.refresh_token)
        time.sleep(0.01)
        return token(len(spent))

    return fetch


def test_what_was_fetched_is_kept_for_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "tokens"
    assert store(folder).load("acme-1") is None
    assert store(folder).renew("acme-1", None, lambda _: token(1)) == token(1)
    assert store(folder).load("acme-1") == token(1)
    assert store(folder).load("acme-2") is None


def test_files_are_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    before = os.umask(0)
    try:
        store(folder).renew("acme", None, lambda _: token(1))
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}


def test_whoever_comes_late_gets_the_token_of_the_first(tmp_path: Path) -> None:
    store(tmp_path).renew("acme", None, lambda _: token(1))
    late = store(tmp_path)

    def refuse(_: Token | None) -> Token:
        raise AssertionError("asked for a token although somebody had renewed")

    assert late.renew("acme", None, refuse) == token(1)
    assert late.renew("acme", token(0), refuse) == token(1)
    assert late.renew("acme", token(1), lambda stored: token(2)) == token(2)


def test_a_token_is_on_disk_before_anybody_uses_it(tmp_path: Path) -> None:
    first = store(tmp_path)
    fetch = rotating([])
    for _ in range(3):
        used = first.renew("acme", first.load("acme"), fetch)
        assert store(tmp_path).load("acme") == used


def test_a_failed_renewal_changes_nothing_and_frees_the_lock(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.renew("acme", None, lambda _: token(1))

    def fail(_: Token | None) -> Token:
        raise CredentialError("revoked")

    with pytest.raises(CredentialError):
        first.renew("acme", token(1), fail)
    assert store(tmp_path).load("acme") == token(1)
    assert store(tmp_path).renew("acme", token(1), lambda _: token(2)) == token(2)


def test_a_half_written_file_of_a_killed_run_is_no_hindrance(tmp_path: Path) -> None:
    first = store(tmp_path)
    first.renew("acme", None, lambda _: token(1))
    (tmp_path / "acme.new").write_text('{"access_tok')
    assert store(tmp_path).load("acme") == token(1)
    assert first.renew("acme", token(1), lambda _: token(2)) == token(2)


@pytest.mark.parametrize("folder_given", [True, False])
def test_threads_never_spend_a_refresh_token_twice(tmp_path: Path, folder_given: bool) -> None:
    shared = store(tmp_path if folder_given else None)
    spent: list[str | None] = []
    fetch = rotating(spent)

    def work() -> None:
        for _ in range(5):
            shared.renew("acme", shared.load("acme"), fetch)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(spent) >= 5
    assert spent == [None, *(f"r{number}" for number in range(1, len(spent)))]


def renew_in_process(folder: Path, log: Path, ready: ProcessEvent) -> None:
    """Renews as often as it can; each spent refresh token is a line of `log`."""
    own = TokenStore(folder, threading.Event())

    def fetch(stored: Token | None) -> Token:
        number = 0 if stored is None else stored.answer["n"]
        with log.open("a") as lines:
            lines.write(f"{number}\n")
        time.sleep(0.005)
        return token(number + 1)

    ready.wait(10)
    for _ in range(20):
        own.renew("acme", own.load("acme"), fetch)


def test_processes_never_spend_a_refresh_token_twice(tmp_path: Path) -> None:
    log, ready = tmp_path / "spent", SPAWN.Event()
    arguments = (tmp_path / "tokens", log, ready)
    processes = [SPAWN.Process(target=renew_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    ready.set()
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    spent = log.read_text().split()
    assert len(spent) >= 20
    assert spent == [str(number) for number in range(len(spent))]


def test_stop_ends_the_wait_for_another_run(tmp_path: Path) -> None:
    stop, holding, release = threading.Event(), threading.Event(), threading.Event()

    def hold(_: Token | None) -> Token:
        holding.set()
        release.wait(10)
        return token(1)

    holder = threading.Thread(target=lambda: store(tmp_path).renew("acme", None, hold))
    holder.start()
    try:
        assert holding.wait(5)
        timer = threading.Timer(0.1, stop.set)
        timer.start()
        began = time.monotonic()
        with pytest.raises(StoppedError):
            TokenStore(tmp_path, stop).renew("acme", None, lambda _: token(2))
        assert time.monotonic() - began < 1
        timer.join()
    finally:
        release.set()
        holder.join()


def test_a_file_that_is_no_token_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "acme.json").write_text("{}")
    with pytest.raises(CredentialError) as caught:
        store(tmp_path).load("acme")
    assert str(caught.value) == (
        f"{tmp_path}/acme.json: the stored token cannot be read; delete the file; where the API"
        " rotates refresh tokens, configure a new one too"
    )


def test_a_folder_that_cannot_be_written_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="give a `home` that this user can write to"):
        store(tmp_path / "file").renew("acme", None, lambda _: token(1))


def test_the_name_of_a_chain_tells_nothing_and_changes_with_each_part() -> None:
    name = chain_name("acme", ["client_credentials", "id", "secret"])
    assert name.startswith("acme-")
    assert "secret" not in name
    assert name == chain_name("acme", ("client_credentials", "id", "secret"))
    assert len({name, chain_name("acme", ["x", "id", "secret"]), chain_name("b", ["x"])}) == 3
    assert chain_name("acme", ["a", "bc"]) != chain_name("acme", ["ab", "c"])
