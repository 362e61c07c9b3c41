"""OAuth tokens against real token endpoints, with threads and processes."""

from __future__ import annotations

import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import pytest
import requests
from clients import Asker, lines
from loopback import OK, Answer, Seen, in_turn, serve

from tap_saas.errors import ConfigError, CredentialError, TapSaasError


def oauth(url: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "oauth2",
        "grant": "client_credentials",
        "token_url": f"{url}/oauth/token",
        "client": {"id": "sandbox", "secret": "{client_secret}"},
        **more,
    }


OAUTH_VALUES = {"client_secret": "sandbox-secret"}


def logging_in(url: str, **more: Any) -> Asker:
    """A client that logs in by `client_credentials`."""
    return Asker(url, **{"auth": [oauth(url)], "values": OAUTH_VALUES, **more})


def test_a_token_is_fetched_once_and_used_again(sandbox: str) -> None:
    requests.delete(f"{sandbox}/_requests", timeout=5)
    with logging_in(sandbox) as asker:
        for _ in range(3):
            assert asker.ask().verdict.then == "ok"
        assert asker.client.token()["token_type"].lower() == "bearer"
    counts = requests.get(f"{sandbox}/_requests", timeout=5).json()
    assert len([path for _, path, _ in counts["times"] if path == "/oauth/token"]) == 1


def test_a_kept_token_serves_the_next_run(sandbox: str, tmp_path: Path) -> None:
    requests.delete(f"{sandbox}/_requests", timeout=5)
    for _ in range(2):
        with logging_in(sandbox, home=tmp_path) as asker:
            asker.ask()
    counts = requests.get(f"{sandbox}/_requests", timeout=5).json()
    assert [path for _, path, _ in counts["times"]] == ["/oauth/token", "/orders", "/orders"]


def token_server(*, dies: bool = False) -> tuple[Callable[[Seen], Answer], list[str]]:
    """A server whose first access token is refused (`dies`: every one), and the tokens it gave."""
    given: list[str] = []

    def answer(seen: Seen) -> Answer:
        if seen.path == "/oauth/token":
            given.append(f"access-{len(given)}")
            return Answer(body=json.dumps({"access_token": given[-1]}).encode())
        fine = (
            not dies and len(given) > 1 and seen.headers["Authorization"] == f"Bearer {given[-1]}"
        )
        return OK if fine else Answer(401, b'{"message": "expired"}')

    return answer, given


def test_a_401_renews_once_and_goes_on() -> None:
    answer, given = token_server()
    with serve(answer) as server, logging_in(server.url) as asker:
        assert asker.ask().response.tries == 1
        assert asker.ask().verdict.then == "ok"
    assert given == ["access-0", "access-1"]


def test_threads_that_meet_a_401_renew_it_once_between_them() -> None:
    answer, given = token_server()
    with serve(answer) as server, logging_in(server.url) as asker:
        threads = [threading.Thread(target=asker.ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(given) == 2


def test_a_second_401_names_the_settings() -> None:
    answer, given = token_server(dies=True)
    with serve(answer) as server:
        with logging_in(server.url) as asker, pytest.raises(CredentialError) as caught:
            asker.ask()
        assert len(given) == 2
        assert len(server.seen) == 4
    assert str(caught.value) == (
        "orders: page 1: 401 Unauthorized: expired; check the setting client_secret"
    )


def test_a_wrong_client_is_one_line(sandbox: str) -> None:
    values = {"client_secret": "wrong-one"}
    with logging_in(sandbox, values=values) as asker, pytest.raises(CredentialError) as caught:
        asker.ask()
    told = str(caught.value)
    assert told.startswith("orders: page 1: no access token: invalid_client: ")
    assert told.endswith("; check the setting client_secret")


def test_the_token_endpoint_is_asked_again_too(
    sandbox: str, caplog: pytest.LogCaptureFixture
) -> None:
    fault = {"path": "/oauth/token", "kind": "503", "times": 1}
    requests.post(f"{sandbox}/_faults", json=fault, timeout=5)
    with logging_in(sandbox) as asker:
        asker.ask()
    (warning,) = lines(caplog, logging.WARNING)
    assert warning.startswith("orders: page 1: token: 503 Service Unavailable, waiting ")


def test_a_token_goes_to_no_plain_http() -> None:
    auth = [oauth("http://login.invalid")]
    with (
        serve(in_turn(OK)) as server,
        Asker(server.url, auth=auth, values=OAUTH_VALUES) as asker,
        pytest.raises(ConfigError, match="use https in token_url"),
    ):
        asker.ask()


def test_base_url_may_come_from_the_token() -> None:
    with serve(in_turn(OK)) as instance:
        body = json.dumps({"access_token": "a-token", "instance_url": instance.url}).encode()
        with serve(in_turn(Answer(body=body))) as login:
            auth = [oauth(login.url)]
            with Asker("{token.instance_url}", auth=auth, values=OAUTH_VALUES) as asker:
                address = asker.client.token()["instance_url"]
                asker.ask(f"{address}/orders")
        assert instance.seen[0].headers["Authorization"] == "Bearer a-token"


def test_a_token_renewed_while_waiting_for_a_budget_is_not_sent_dead(sandbox: str) -> None:
    requests.post(f"{sandbox}/_oauth", json={"expires_in_s": 1}, timeout=5)
    budgets = {"all": {"limits": [{"requests": 1, "per": "1s"}], "match": "/orders"}}
    try:
        requests.delete(f"{sandbox}/_requests", timeout=5)
        with logging_in(sandbox, budgets=budgets) as asker:
            for _ in range(3):
                asker.ask()
        counts = requests.get(f"{sandbox}/_requests", timeout=5).json()
        assert not [status for _, _, status in counts["times"] if status == 401]
    finally:
        requests.post(f"{sandbox}/_oauth", json={"expires_in_s": 30}, timeout=5)


@pytest.fixture
def rotating(sandbox: str) -> Iterator[dict[str, Any]]:
    """What a client needs to log in by a refresh token; access tokens live for a second."""
    requests.post(f"{sandbox}/_oauth", json={"expires_in_s": 1}, timeout=5)
    requests.delete(f"{sandbox}/_requests", timeout=5)
    first = requests.post(f"{sandbox}/_oauth/refresh_token", json={}, timeout=5).json()
    auth = oauth(sandbox, grant="refresh_token", refresh_token="{refresh_token}")
    yield {"auth": [auth], "values": {**OAUTH_VALUES, **first}}
    requests.post(f"{sandbox}/_oauth", json={"expires_in_s": 30}, timeout=5)


def ask_for(seconds: float, asker: Asker, threads: int = 8) -> list[str]:
    """Asks in many threads for so long; what went wrong."""
    wrong: list[str] = []
    until = time.monotonic() + seconds

    def work() -> None:
        try:
            while time.monotonic() < until:
                asker.ask()
                time.sleep(0.01)
        except TapSaasError as error:
            wrong.append(str(error))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return wrong


def refreshes(sandbox: str) -> tuple[int, int]:
    """How often a token was asked for, and how often with a refresh token that was spent."""
    counts = requests.get(f"{sandbox}/_requests", timeout=5).json()
    asked = [path for _, path, _ in counts["times"] if path == "/oauth/token"]
    return len(asked), counts["refresh_reuse"]


def test_threads_never_spend_a_rotated_refresh_token_twice(
    sandbox: str, rotating: dict[str, Any], tmp_path: Path
) -> None:
    with Asker(sandbox, home=tmp_path, **rotating) as asker:
        assert ask_for(2.5, asker) == []
    asked, reused = refreshes(sandbox)
    assert asked >= 3
    assert reused == 0


def ask_in_process(sandbox: str, home: Path, keys: dict[str, Any], wrong: Queue[list[str]]) -> None:
    """The other process: its own client, the same `home`."""
    with Asker(sandbox, home=home, **keys) as asker:
        wrong.put(ask_for(2.5, asker, threads=4))


def test_processes_never_spend_a_rotated_refresh_token_twice(
    sandbox: str, rotating: dict[str, Any], tmp_path: Path
) -> None:
    spawn = multiprocessing.get_context("spawn")
    wrong: Queue[list[str]] = spawn.Queue()
    arguments = (sandbox, tmp_path, rotating, wrong)
    processes = [spawn.Process(target=ask_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    assert [wrong.get(timeout=30) for _ in processes] == [[], []]
    for process in processes:
        process.join(10)
        assert process.exitcode == 0
    wrong.close()
    wrong.join_thread()
    asked, reused = refreshes(sandbox)
    assert asked >= 3
    assert reused == 0


def test_a_newly_configured_refresh_token_beats_the_stored_one(
    sandbox: str, rotating: dict[str, Any], tmp_path: Path
) -> None:
    with Asker(sandbox, home=tmp_path, **rotating) as asker:
        asker.ask()
    with Asker(sandbox, home=tmp_path, **rotating) as asker:
        asker.ask()
    again = requests.post(f"{sandbox}/_oauth/refresh_token", json={}, timeout=5).json()
    rotating["values"] |= again
    before, _ = refreshes(sandbox)
    with Asker(sandbox, home=tmp_path, **rotating) as asker:
        asker.ask()
    after, reused = refreshes(sandbox)
    assert after == before + 1
    assert reused == 0


def test_a_budget_of_one_request_at_a_time_does_not_lock_out_the_token(
    sandbox: str, rotating: dict[str, Any], tmp_path: Path
) -> None:
    budgets = {"all": {"limits": [{"concurrent": 1}]}}
    with Asker(sandbox, home=tmp_path, budgets=budgets, **rotating) as asker:
        assert ask_for(2.5, asker, threads=6) == []
    assert refreshes(sandbox)[1] == 0


def test_a_refresh_token_needs_a_home(sandbox: str, rotating: dict[str, Any]) -> None:
    with Asker(sandbox, **rotating) as asker, pytest.raises(ConfigError) as caught:
        asker.ask()
    assert "a rotated refresh token would be lost; give a `home`" in str(caught.value)
