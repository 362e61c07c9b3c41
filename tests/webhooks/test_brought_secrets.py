"""Secrets that handshakes bring: kept when they are expected, never otherwise, told to nobody."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import requests
from hook_api import BRINGS, KEY, HookApi, hook_api, send
from receivers import PATIENCE_S, Receiver, receiving

from tap_saas.cli import cli, subscriptions
from tap_saas.process import guarded
from tap_saas.webhooks.secret_store import FILE, SecretStore

MAIN, PASTED = "acme/main", "acme/pasted"
FORGED = "secret-of-somebody-else"
UNEXPECTED = 'tap_saas_webhook_refused_total{source="acme/main",reason="no secret is expected"} 1\n'


@contextlib.contextmanager
def bringing(home: Path, more: str = "", **settings: str) -> Iterator[Receiver]:
    """A receiver whose secrets are in `home`."""
    own = f"Options = __import__('functools').partial(Options, home=Path({str(home)!r}))"
    more = f"from pathlib import Path\n{own}\n{more}"
    given = {"hook_secret": "", **settings}
    home.mkdir(exist_ok=True)
    with receiving(home / "receiver", more=more, connector=BRINGS, **given) as running:
        yield running


def target(receiver: Receiver, source: str = MAIN) -> str:
    return "http://{}:{}/webhooks/{}".format(*receiver.address, source)


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


class Saasctl:
    """`saasctl webhooks ...` with a home, as a process or in this one."""

    def __init__(self, home: Path, api: HookApi, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.api, self._capsys = home, api, capsys
        (home / "acme.yaml").write_text(BRINGS)
        (home / "config.json").write_text(f'{{"home": "{home}", "connector": "-"}}')

    def line(self, command: str, *more: str, source: str = "main") -> list[str]:
        config = ["--config", str(self.home / "config.json")]
        config += ["--set", f"url={self.api.url}", "--set", f"key={KEY}"]
        return ["webhooks", command, str(self.home / "acme.yaml"), source, *config, *more]

    @contextlib.contextmanager
    def running(
        self, command: str, *more: str, source: str = "main"
    ) -> Iterator[subprocess.Popen[str]]:
        code = "from tap_saas.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *self.line(command, *more, source=source)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            try:
                yield process
            finally:
                process.kill()

    def here(self, command: str, *more: str, source: str = "main") -> Done:
        self._capsys.readouterr()
        line = self.line(command, *more, source=source)
        return Done(guarded(lambda: cli(line, standalone_mode=False), "saasctl"), *self._told())

    def subscribe(self, receiver: Receiver, host: str = "127.0.0.1") -> Done:
        return self.here("subscribe", "--public-url", f"http://{host}:{receiver.address[1]}")

    def _told(self) -> tuple[str, str]:
        out, err = self._capsys.readouterr()
        return out, err


@pytest.fixture
def api() -> Iterator[HookApi]:
    with hook_api() as running:
        yield running


@pytest.fixture
def saasctl(tmp_path: Path, api: HookApi, capsys: pytest.CaptureFixture[str]) -> Saasctl:
    return Saasctl(tmp_path, api, capsys)


def finished(process: subprocess.Popen[str]) -> Done:
    out, err = process.communicate(timeout=PATIENCE_S)
    return Done(process.returncode, out, err)


def log_with(receiver: Receiver, secret: str) -> str:
    """What the receiver has told, after a request that has the secret in its path."""
    before = receiver.told.count("/nowhere 404")
    receiver.ask(f"/{secret}/nowhere", method="GET")
    until = time.monotonic() + PATIENCE_S
    while receiver.told.count("/nowhere 404") == before:
        assert time.monotonic() < until
        time.sleep(0.02)
    return receiver.told


def until_open(store: SecretStore, source: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while store.of(source).door is None:
        assert time.monotonic() < until
        time.sleep(0.02)


def everything_in(folder: Path, but: str) -> bytes:
    """All that is in files, but for those of a name."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != but]
    return b"".join(path.read_bytes() for path in files)


def test_subscribe_brings_the_secret_that_events_are_signed_with(
    tmp_path: Path, api: HookApi, saasctl: Saasctl
) -> None:
    told = ""
    with bringing(tmp_path) as running:
        assert (
            "no handshake has brought hook_secret: run saasctl webhooks subscribe" in running.told
        )
        assert send(target(running), FORGED, {"n": 0}) == 503
        public = "http://{}:{}".format(*running.address)
        with saasctl.running("subscribe", "--public-url", public) as process:
            done = finished(process)
        assert (done.code, done.out) == (0, f"{MAIN}: made\n"), done.err
        (secret,) = api.secrets
        assert send(target(running), secret, {"n": 1}) == 200
        assert send(target(running), FORGED, {"n": 2}) == 401
        assert saasctl.here("send", '{"n": 3}', "--url", public).out == "200\n"
        metrics = running.ask("/metrics", method="GET").body.decode()
        told += done.out + done.err + log_with(running, secret) + metrics
        assert running.stop() == 0
    with bringing(tmp_path) as again:
        assert send(target(again), secret, {"n": 4}) == 200
        assert [event.body[-2:-1] for event in again.events(MAIN)] == [b"1", b"3", b"4"]
        told += log_with(again, secret)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert secret.encode() not in everything_in(tmp_path, FILE)
    assert secret not in told
    assert "a handshake brought a secret: source=acme/main" in told


def test_a_secret_that_nobody_expects_is_refused_and_nothing_changes(
    tmp_path: Path, saasctl: Saasctl
) -> None:
    with bringing(tmp_path) as running:
        saasctl.subscribe(running)
        before = (tmp_path / FILE).read_bytes()
        for headers in ({"X-Hook-Secret": FORGED}, {"X-Hook-Secret": "bad"}):
            answer = requests.post(target(running), headers=headers, timeout=20)
            assert answer.status_code == 401
            assert FORGED not in str(answer.headers) + answer.text
        assert (tmp_path / FILE).read_bytes() == before
        assert send(target(running), FORGED, {}) == 401
        assert send(target(running), saasctl.api.secrets[0], {}) == 200
        metrics = running.ask("/metrics", method="GET").body.decode()
        assert UNEXPECTED.replace(" 1\n", " 2\n") in metrics
        assert FORGED not in everything_in(tmp_path, "").decode(errors="replace") + running.told


def test_a_new_subscription_brings_another_secret_and_both_are_good(
    tmp_path: Path, api: HookApi, saasctl: Saasctl
) -> None:
    with bringing(tmp_path, hook_secret="a-secret-of-the-settings") as running:
        assert saasctl.subscribe(running).out == f"{MAIN}: made\n"
        assert saasctl.subscribe(running).out == f"{MAIN}: kept\n"
        assert saasctl.subscribe(running, "localhost").out == f"{MAIN}: made\n"
        assert len(api.targets) == 1
        for secret in (*api.secrets, "a-secret-of-the-settings"):
            assert send(target(running), secret, {"by": secret[:4]}) == 200
        assert saasctl.here("forget").out == f"{MAIN}: 2 secrets forgotten\n"
        assert [send(target(running), secret, {}) for secret in api.secrets] == [401, 401]
        assert send(target(running), "a-secret-of-the-settings", {"after": 1}) == 200
        assert saasctl.subscribe(running, "localhost").out == f"{MAIN}: made\n"
        assert send(target(running), api.secrets[-1], {"after": 2}) == 200
    assert len(api.targets) == 1


def test_who_comes_first_through_an_open_door_gains_nothing(
    tmp_path: Path, api: HookApi, saasctl: Saasctl
) -> None:
    taken: list[int] = []

    def forge(at: str) -> None:
        answer = requests.post(at, headers={"X-Hook-Secret": FORGED}, timeout=20)
        taken.append(answer.status_code)

    api.before = forge
    with bringing(tmp_path) as running:
        done = saasctl.subscribe(running)
        assert (done.code, taken) == (5, [200]), done.err
        assert not api.targets
        assert SecretStore(tmp_path).of(MAIN).secrets == []
        assert send(target(running), FORGED, {}) == 503
        api.before = lambda at: None
        assert saasctl.subscribe(running).code == 0
        assert send(target(running), FORGED, {}) == 401
        assert send(target(running), api.secrets[-1], {}) == 200
        assert FORGED not in running.told + done.err


def test_a_receiver_with_another_home_takes_none(
    tmp_path: Path, api: HookApi, saasctl: Saasctl
) -> None:
    with bringing(tmp_path / "other") as running:
        done = saasctl.subscribe(running)
        assert done.code == 5
        assert "no secret came meanwhile: does the receiver run with the same `home`?" in done.err
        assert api.secrets[0] not in done.err + running.told
    assert SecretStore(tmp_path).of(MAIN).door is None


def test_a_subscription_without_its_secret_is_given_up(
    tmp_path: Path, api: HookApi, saasctl: Saasctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions, "LATE_S", 0.2)
    api.shakes = False
    done = saasctl.here("subscribe", "--public-url", "http://127.0.0.1:9")
    assert done.code == 5
    assert "a subscription was made, but no secret came with it" in done.err
    assert not api.targets
    assert not (tmp_path / "subscriptions.json").exists()


def test_a_secret_that_is_pasted_is_expected_once_and_shown(
    tmp_path: Path, saasctl: Saasctl
) -> None:
    token = "secret_of-the-subscription-1"
    store = SecretStore(tmp_path)
    with (
        bringing(tmp_path) as running,
        saasctl.running("expect", "--show", source="pasted") as waiting,
    ):
        at = target(running, PASTED)
        assert requests.post(at, json={"verification_token": token}, timeout=20).status_code == 401
        until_open(store, PASTED)
        assert requests.post(at, json={"verification_token": "short"}, timeout=20).ok is False
        assert requests.post(at, json={"verification_token": token}, timeout=20).status_code == 200
        assert requests.post(at, json={"verification_token": FORGED}, timeout=20).status_code == 401
        done = finished(waiting)
        assert (done.code, done.out) == (0, f"{token}\n")
        assert send(at, token, {"n": 1}, "X-Its-Signature") == 200
        assert send(at, FORGED, {"n": 2}, "X-Its-Signature") == 401
        assert send(target(running), token, {"n": 3}) == 503
        assert token not in running.told + done.err
        assert [event.body for event in running.events(PASTED)] == [b'{"n": 1}']
    assert token.encode() not in everything_in(tmp_path, FILE)


def test_expect_ends_when_its_time_is_up(tmp_path: Path, saasctl: Saasctl) -> None:
    done = saasctl.here("expect", "--for", "1s", source="pasted")
    assert (done.code, done.out) == (5, "")
    assert "acme/pasted: no secret came within 1s" in done.err
    assert SecretStore(tmp_path).of(PASTED).door is None


def test_who_expects_it_last_gets_it(tmp_path: Path, saasctl: Saasctl) -> None:
    store = SecretStore(tmp_path)
    with saasctl.running("expect", source="pasted") as waiting:
        until_open(store, PASTED)
        store.open(PASTED, timedelta(minutes=1), datetime.now(UTC))
        done = finished(waiting)
    assert (done.code, done.out) == (5, "")
    assert "acme/pasted: another command waits for the secret now" in done.err
    assert store.of(PASTED).door is not None


@pytest.mark.parametrize(
    ("command", "more", "line"),
    [
        ("expect", ["--for", "1"], "--for '1' is not a duration"),
        ("forget", [], 'no webhook source "none" whose handshake brings a secret; use one of main'),
        ("expect", [], 'no webhook source "none" whose handshake brings a secret'),
    ],
)
def test_what_cannot_be_expected_is_told(
    saasctl: Saasctl, command: str, more: list[str], line: str
) -> None:
    done = saasctl.here(command, *more, source="none")
    assert done.code == 2
    assert line in done.err


def test_what_cannot_be_kept_is_not_answered(tmp_path: Path) -> None:
    store, asked = SecretStore(tmp_path), {"verification_token": FORGED}
    store.open(PASTED, timedelta(minutes=1), datetime.now(UTC))
    impatient = "import tap_saas.webhooks.secret_store as store; store.LOCK_S = 0.1"
    with bringing(tmp_path, impatient) as running:
        with store._changing():
            answer = requests.post(target(running, PASTED), json=asked, timeout=20)
        assert answer.status_code == 503
        assert "a secret came and is lost: source=acme/pasted" in running.told
        assert FORGED not in log_with(running, FORGED) + answer.text
        assert send(target(running, PASTED), FORGED, {}, "X-Its-Signature") == 503


def test_a_broken_file_ends_no_receiver_and_begins_none(tmp_path: Path, saasctl: Saasctl) -> None:
    with bringing(tmp_path) as running:
        saasctl.subscribe(running)
        secret = saasctl.api.secrets[0]
        (tmp_path / FILE).write_text(f'{{"{FORGED}')
        os.utime(tmp_path / FILE, (1, 1))
        assert send(target(running), FORGED, {}) == 401
        assert send(target(running), secret, {}) == 200
        assert "the secrets stay as they were" in running.told
        assert FORGED not in running.told
    with pytest.raises(AssertionError, match="the file of secrets is broken"), bringing(tmp_path):
        pass
