"""P6: a secret is in nothing that leaves: masked by its value, however an API writes it back."""

from __future__ import annotations

import html
import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hostile_api import Asked, Hostile, Raw, answer, hostile
from hostile_shop import CLIENT_SECRET, DAY, ENVIRONMENT, KEY, TOKEN, Shop, connector
from in_process import run_saasctl
from singer_output import Done

WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in a URL": lambda secret: quote(secret, safe=""),
    "in a form": quote_plus,
    "in small letters": lambda secret: re.sub(
        "%..", lambda match: match[0].lower(), quote(secret, safe="")
    ),
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON in JSON": lambda secret: json.dumps(json.dumps(secret)[1:-1])[1:-1],
    "in HTML": html.escape,
    "in base64": lambda secret: b64encode(f"me:{secret}".encode()).decode(),
    "cut off": lambda secret: secret[: len(secret) - 2] + "...",
}
FACES = {
    secret: sorted({write(secret) for write in WRITTEN.values()} | {secret[:10]})
    for secret in (KEY, CLIENT_SECRET, TOKEN)
}


def assert_hidden(text: bytes | str, where: str) -> None:
    """No secret is in a text, nor the beginning of one."""
    shown = text.decode(errors="replace") if isinstance(text, bytes) else text
    for secret, faces in FACES.items():
        found = [face for face in faces if face in shown]
        at = shown.find(found[0]) if found else 0
        assert found == [], f"{secret} in {where}: {shown[max(at - 300, 0) : at + 100]}"


def assert_none_left(done: Done, shop: Shop) -> None:
    """Nothing but the records of the streams, which are the API's, holds a secret."""
    assert "Traceback" not in done.told
    assert "internal error" not in done.told
    assert_hidden(done.told, "stderr")
    for line in done.out.splitlines():
        message = json.loads(line)
        if message["type"] != "RECORD" or message["stream"].startswith("_"):
            assert_hidden(line, message["type"])
    assert_hidden(shop.kept(), "home")


def telling(write: Callable[[str], str]) -> Callable[[Asked], Raw]:
    """An API that writes every secret back wherever it can."""
    known = [KEY, CLIENT_SECRET]

    def given(asked: Asked) -> Raw:
        said = " ".join(map(write, known))
        if asked.path == "/token":
            known.append(TOKEN)
            return answer(json.dumps({"access_token": TOKEN, "expires_in": 60}).encode())
        echoed = "&".join(f"echo{n}={quote(secret)}" for n, secret in enumerate(known))
        link = f"{asked.path}?page=2&{echoed}"
        records = [
            {"id": 1, "updated_at": DAY.format(1), "n": 1, "name": said},
            {"id": said, "updated_at": said, "n": said, "at": said, "price": said},
            {"id": [said], "updated_at": DAY.format(2), "n": 2},
        ]
        ids = {"X-Request-Id": said}
        if "page=2" in asked.target or "cursor=" in asked.target:
            return answer(json.dumps({"message": said, "error": said}).encode(), 400, ids)
        page = {"data": records, "next": said, "links": {"next": link}, "more": True}
        return answer(json.dumps(page).encode(), 200, {"Link": f'<{link}>; rel="next"', **ids})

    return given


@pytest.fixture
def api() -> Iterator[Hostile]:
    with hostile(telling(str)) as server:
        yield server


STREAMS = ("orders", "lines", "links", "headed", "offsets", "regions", "windows")


@pytest.mark.parametrize(
    ("way", "level"), [("as it is", "INFO"), *((way, "DEBUG") for way in WRITTEN)]
)
def test_a_run(way: str, level: str, api: Hostile, tmp_path: Path) -> None:
    api.answer = telling(WRITTEN[way])
    shop = Shop(tmp_path, api.url)
    done = shop.tap(TAP_SAAS_LOGLEVEL=level)
    assert done.code != 0
    assert "***" in done.told
    assert any(message["stream"] == "_rejects" for message in done.messages if "stream" in message)
    assert_none_left(done, shop)


WRONG: dict[str, Callable[[str], Raw]] = {
    "an HTML page": lambda said: answer(f"<html><title>{said}</title>".encode()),
    "no JSON": lambda said: answer(f"<{said}".encode()),
    "no records there": lambda said: answer(json.dumps({said: 1}).encode()),
    "a next link that is none": lambda said: answer(
        json.dumps({"data": [], "links": {"next": [said]}, "next": [said]}).encode()
    ),
    "a redirect to nowhere": lambda said: answer(b"", 302, {"Location": f"http://[{said}"}),
    "a skip": lambda said: answer(json.dumps({"message": said}).encode(), 418),
    "a restart": lambda said: answer(json.dumps({"message": said}).encode(), 419),
    "a refusal": lambda said: answer(json.dumps({"message": said}).encode(), 401),
    "a failure": lambda said: answer(json.dumps({"ok": False, "error": said}).encode()),
    "a message far behind": lambda said: answer(b" " * 65_500 + said.encode(), 400),
    "a header that no header is": lambda said: Raw(
        f"HTTP/1.1 200 OK\r\n{said}\r\n{said}: 1\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    ),
    "a status that is none": lambda said: Raw(f"HTTP/1.1 {said}\r\n\r\n".encode()),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_is_wrong(case: str, api: Hostile, tmp_path: Path) -> None:
    for way in ("as it is", "cut off"):
        said = " ".join(WRITTEN[way](secret) for secret in (KEY, CLIENT_SECRET))
        api.answer = lambda _, said=said: WRONG[case](said)  # type: ignore[misc]
        folder = tmp_path / way
        folder.mkdir()
        shop = Shop(folder, api.url, connector("headed", "orders", "regions"))
        assert_none_left(shop.tap(TAP_SAAS_LOGLEVEL="DEBUG"), shop)


def test_what_saasctl_prints(api: Hostile, tmp_path: Path) -> None:
    shop = Shop(tmp_path, api.url, emit_rejects=True)
    run = shop.tap()
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(run.out)
    shop.state.write_text(json.dumps(run.last_state))
    page = tmp_path / "report.html"
    home = {"TAP_SAAS_HOME": str(shop.home), **ENVIRONMENT}
    given: list[Any] = ["--config", shop.config]
    commands: list[list[Any]] = [
        ["check", shop.yaml],
        ["explain", shop.yaml, *given],
        ["explain", shop.yaml, "--json", *given],
        ["meltano", shop.yaml],
        *(["preview", shop.yaml, stream, *given] for stream in STREAMS),
        ["guess", f"{api.url}/orders?api_key={{SHOP_KEY}}", "--basic", "me:{SHOP_KEY}"],
        ["guess", f"{api.url}/links", "--bearer", "SHOP_KEY", "--header", "X-Key={SHOP_KEY}"],
        ["state", "show", shop.state],
        ["rejects", "list", "--from", lines],
        ["rejects", "list", "--from", lines, "--json"],
        ["rejects", "replay", shop.yaml, "--from", lines, *given],
        ["runs"],
        ["runs", "show"],
        ["runs", "report", "-o", page],
    ]
    for command in commands:
        api.answer = telling(str)
        done = run_saasctl(*command, environment=home)
        assert "Traceback" not in done.told, command
        assert "internal error" not in done.told, (command, done.told)
        assert_hidden(done.told, f"stderr of {command}")
        assert_hidden(done.out, f"stdout of {command}")
    assert_hidden(page.read_bytes(), "the report")
