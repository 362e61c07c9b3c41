"""States, catalogs, settings, connectors and variables that are wrong: lines, and a known code."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hostile_api import Asked, Hostile, Raw, answer
from hostile_shop import DAY, ENVIRONMENT, SECRETS, WHOLE, Shop, connector, right
from hypothesis import example, given
from hypothesis import strategies as st
from in_process import assert_honest, run_saasctl
from mutants import ODD, few, mutants


def broken(asked: Asked) -> Raw:
    """The API with failures that leave things unfinished."""
    fails = "/2/" in asked.path or asked.path == "/orders/4"
    fails = fails or "cursor=" in asked.target or "page=2" in asked.target
    return answer(b"{}", 500) if fails else right(asked)


@pytest.fixture(scope="session")
def states(api: Hostile, place_for: Path) -> list[Any]:
    """States of all kinds of bookmarks, in the middle of things and at their end."""
    folder = place_for / "states"
    folder.mkdir()
    found: list[dict[str, Any]] = []
    for limit in (1, 3, 5, 7, 9, 12, 15, 18, 99):
        found.append(Shop(folder, api.url, max_requests=limit).tap().last_state)
    api.answer = broken
    found.append(Shop(folder, api.url).tap().last_state)
    api.answer = right
    full = json.loads(json.dumps(found[-1]))["bookmarks"]
    full["lines"] |= {
        "unfinished": [[{"order": 1}, None], [{"order": 2}, DAY.format(1)]],
        "parents": [DAY.format(1), DAY.format(1)],
    }
    full["orders"] |= {"sweep": [1, 2, 3], "due": ["gap"], "activate": [5], "swept": [1, 2, 3]}
    return [*found, {"bookmarks": full}]


STREAMS = (
    ("orders", "lines"), ("orders", "links"), ("headed", "offsets"), ("regions", "windows"),
)  # fmt: skip


@few(120)
@given(data=st.data(), streams=st.sampled_from(STREAMS), parallel=st.sampled_from([1, 4]))
def test_a_state(
    data: st.DataObject, streams: tuple[str, ...], parallel: int, states: list[Any], api: Hostile,
    place_for: Path,
) -> None:  # fmt: skip
    state = data.draw(mutants(states))
    with tempfile.TemporaryDirectory(dir=place_for) as folder:
        text = connector(*streams, events="orders" in streams)
        shop = Shop(Path(folder), api.url, text, parallel=parallel)
        shop.state.write_text(json.dumps(state))
        done = shop.tap()
        assert_honest(done, *SECRETS)
        done.assert_singer()


@pytest.mark.parametrize(
    "content",
    [b"\xff\xfe{", b"[" * 100_000, b'{"bookmarks": ' * 5_000, b"\0", b'{"bookmarks": {"\xff": 1}}'],
    ids=["not UTF-8", "a deep list", "a deep object", "a NUL", "a name that is not UTF-8"],
)
@pytest.mark.parametrize("what", ["state", "catalog", "config"])
def test_a_file_that_is_none(what: str, content: bytes, api: Hostile, tmp_path: Path) -> None:
    shop = Shop(tmp_path, api.url, connector("orders"))
    file = tmp_path / "file.json"
    file.write_bytes(content)
    done = shop.tap(f"--{what}", file)
    assert_honest(done, *SECRETS)
    assert done.code == (7 if what == "state" else 2)


@few(60)
@given(data=st.data())
def test_a_catalog(data: st.DataObject, api: Hostile, place_for: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place_for) as folder:
        shop = Shop(Path(folder), api.url, connector("orders", "lines", "links"))
        catalog = data.draw(mutants([json.loads(shop.tap("--discover").out)], most=6))
        file = Path(folder) / "catalog.json"
        file.write_text(json.dumps(catalog))
        assert_honest(shop.tap("--catalog", file), *SECRETS)


CONFIG: dict[str, Any] = {
    "connector": "./shop.yaml",
    "settings": {"url": "http://127.0.0.1:1"},
    "start_date": "2025-01-01",
    "feeds": ["pull", "events"],
    "queue": "/nowhere/queue.db",
    "consumer": "main",
    "max_duration": "30s",
    "max_requests": 100,
    "parallel": 4,
    "max_partitions": 10,
    "emit_rejects": True,
    "emit_runs": True,
    "partial_exit": 0,
    "stream_maps": {"orders": {"name": "name.upper()", "__filter__": "id > 1"}},
    "flattening_enabled": True,
    "flattening_max_depth": 2,
}
MODES: list[list[str]] = [[], ["--discover"], ["--test"], ["--test=schema"], ["--about"]]


@few(100)
@given(data=st.data(), mode=st.sampled_from(MODES), maps=st.booleans())
def test_a_config(
    data: st.DataObject, mode: list[str], maps: bool, api: Hostile, place_for: Path
) -> None:
    with tempfile.TemporaryDirectory(dir=place_for) as folder:
        shop = Shop(Path(folder), api.url, connector("orders", "links"))
        known = {**CONFIG, **shop.given}
        if not maps:
            known = {k: v for k, v in known.items() if not k.startswith(("stream_", "flat"))}
        config = data.draw(mutants([known]))
        shop.config.write_text(json.dumps(config))
        assert_honest(shop.tap(*mode), *SECRETS)


@pytest.mark.parametrize("name", ["settings", "queue", "budget_store"])
def test_a_secret_in_the_wrong_place_is_not_shown(name: str, api: Hostile, tmp_path: Path) -> None:
    shop = Shop(tmp_path, api.url)
    shop.config.write_text(json.dumps({**shop.given, name: [SECRETS[0]]}))
    done = shop.tap()
    assert_honest(done, *SECRETS)
    assert f"config: {name}: it is not " in done.told


WORDS: tuple[Any, ...] = (
    *ODD, "{key}", "{nope}", "{key", "$.a", "$..a", "$.a[*].b", "param:x", "header:X", "body:$.a",
    "5%",
    "http://127.0.0.1:1", "http://[", "/x", "iso8601", "%Y", "@Foo/Bar", "counter",
    "observed", "select",
    {"type": "single"}, {"type": "nope"}, [{"type": "bearer", "token": "{key}"}], {"hash": ["id"]},
    {"type": "select", "by": "key", "of": {"a": {"type": "none"}}}, {"requests": 0, "per": "1s"},
)  # fmt: skip
COMMANDS: dict[str, Callable[[Shop], Any]] = {
    "a run": lambda shop: shop.tap(),
    "--discover": lambda shop: shop.tap("--discover"),
    **{
        command: lambda shop, command=command: run_saasctl(  # type: ignore[misc]
            command, shop.yaml, *_more(command, shop), environment=ENVIRONMENT
        )
        for command in ("check", "explain", "preview", "meltano")
    },
}


def _more(command: str, shop: Shop) -> list[Any]:
    given = ["--config", shop.config]
    return {"explain": given, "preview": ["orders", *given]}.get(command, [])


def assert_mistakes_or_honest(done: Any) -> None:
    """The list of a file's mistakes is the output of `check`; all else has its line."""
    if "mistake" in done.told + done.out.decode() and done.code == 3:
        assert "Traceback" not in done.told
    else:
        assert_honest(done, *SECRETS)


@few(60)
@given(document=mutants([WHOLE], WORDS, most=2), command=st.sampled_from(list(COMMANDS)))
def test_a_connector(document: Any, command: str, api: Hostile, place_for: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place_for) as folder:
        shop = Shop(Path(folder), api.url, json.dumps(document, default=str))
        assert_mistakes_or_honest(COMMANDS[command](shop))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
PIECES = (b"", b"{", b"}", b":", b"\0", b"\xff", b"&a ", b"*a",
          b"!!python/object:os.system ", b"\n",
          b"- ", b'"', b"\t", b"<<: ", b"%", b"---\n", b"|\n", b"'")  # fmt: skip
TEXT = connector("orders", "links").encode()


@few(60)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda at, size, piece: TEXT[: at % len(TEXT)] + piece + TEXT[at % len(TEXT) + size :],
            st.integers(0, 10_000), st.integers(0, 40), st.sampled_from(PIECES),
        ),
    )
)  # fmt: skip
@example(content=BOMB.encode())
@example(content=b"name: &a {b: *a}")
@example(content=b"{" * 5_000)
@example(content=b"- " * 5_000)
@example(content=b"a: " * 5_000)
@example(content=b"x: " + b"9" * 100_000)
@example(content=b"[" * 200_000)
def test_a_connector_that_is_no_yaml(content: bytes, place_for: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place_for) as folder:
        shop = Shop(Path(folder), "http://127.0.0.1:1")
        shop.yaml.write_bytes(content)
        assert_mistakes_or_honest(COMMANDS["check"](shop))


VARIABLES = (
    "LOGLEVEL", "TAP_SAAS_LOGLEVEL", "TAP_SAAS_HOME", "TAP_SAAS_SETTINGS", "TAP_SAAS_CONNECTOR",
    "TAP_SAAS_MAX_REQUESTS", "TAP_SAAS_FEEDS", "TAP_SAAS_PARALLEL", "TAP_SAAS_EMIT_RUNS",
    "TAP_SAAS_QUEUE",
    "TAP_SAAS_START_DATE", "TAP_SAAS_MAX_DURATION", "TAP_SAAS_STREAM_MAPS", "TAP_SAAS_PARTIAL_EXIT",
    "TAP_SAAS_FLATTENING_MAX_DEPTH", "TAP_SAAS_BUDGET_STORE", "http_proxy", "ALL_PROXY", "NO_PROXY",
    "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NETRC", "COLUMNS", "TERM", "LC_ALL", "TZ",
    "SINGER_SDK_LOG_CONFIG", "SHOP_KEY", "SHOP_CLIENT_SECRET",
)  # fmt: skip
URLS = {"TAP_SAAS_QUEUE", "TAP_SAAS_BUDGET_STORE", "http_proxy", "ALL_PROXY"}
"""Those that may hold a password: elsewhere it would be told as the wrong value that it is."""
VALUES = (
    "", "x", "1", "-1", "[]", "{}", "null",
    '{"url":"x"}', "/nowhere/x", "/proc/x", "/dev/null", "http://[",
    "http://127.0.0.1:1", "http://me:pr0xy-secret@127.0.0.1:1", "http://me:pr0xy-secret@h:bad",
    "socks5://x", "ftp://x", "é", "a\nb", "9" * 5_000, "DEBUG",
    "true", "[1", "\udcff", "2025-01-01", "30s",
    "postgresql://me:qu3ue-secret@127.0.0.1:1/x",
)  # fmt: skip


@few(80)
@given(
    variables=st.dictionaries(
        st.sampled_from(VARIABLES), st.sampled_from(VALUES), min_size=1, max_size=4
    ),
    reads=st.booleans(),
)
def test_variables(variables: dict[str, str], reads: bool, api: Hostile, place_for: Path) -> None:
    with tempfile.TemporaryDirectory(dir=place_for) as folder:
        shop = Shop(Path(folder), api.url, connector("orders", "links"))
        done = shop.tap(*(["--config", "ENV"] if reads else []), **variables)
    hidden = [
        secret
        for secret in ("pr0xy-secret", "qu3ue-secret")
        if all(name in URLS for name, value in variables.items() if secret in value)
    ]
    assert_honest(done, *hidden, *SECRETS)
