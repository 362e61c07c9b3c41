"""The sources of a receiver: what they need, how their events are named, what is not kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from receivers import ACME

from tap_saas.connector.incoming import SignedRequest
from tap_saas.errors import ConfigError, ConnectorError
from tap_saas.queues.base import SourceStatus, Status, utc_now
from tap_saas.webhooks.metrics import Metrics
from tap_saas.webhooks.source import LONGEST_ID, Source, load_sources

PART = """
name: {name}
settings:
  key: {{secret: true}}
  header: {{}}
  other: {{default: x}}
  spare: {{secret: true, required: false}}
base_url: https://a.example
streams:
  s:
    path: /s
    primary_key: [id]
    version: at
    pagination: {{type: single}}
    schema:
      type: object
      properties: {{id: {{type: integer}}, at: {{type: string, format: date-time}}}}
webhooks:
  main: {main}
"""
ROUTES = "routes: [{stream: s, record: $.data}]"


def loaded(
    folder: Path, main: str, *, name: str = "part", public_url: str | None = None, **settings: Any
) -> Source:
    file = folder / f"{name}.yaml"
    file.write_text(PART.format(name=name, main=f"{{{main}, {ROUTES}}}"))
    sources, _ = load_sources([str(file)], settings, {}, public_url)
    return sources[f"{name}/main"]


def request(body: bytes = b"{}", url: str = "/webhooks/a/b", **headers: str) -> SignedRequest:
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return SignedRequest(method="POST", url=url, headers=named, body=body)


HMAC = 'signature: {type: hmac, header: X-Signature, secrets: ["{key}"]'
STAMPED = f'{HMAC}, template: "{{ts}}.{{body}}", timestamp: {{header: X-At}}}}'


def test_settings_that_only_requests_need_may_be_missing(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(ACME)
    given = {"hook_secret": "s"}
    sources, secrets = load_sources([str(tmp_path / "acme.yaml")], given, {}, None)
    ready = {name for name, source in sources.items() if source.unready is None}
    assert ready == {"acme/main", "acme/timed", "acme/token", "acme/open"}
    assert sources["acme/lost"].unready == "the setting lost_secret has no value"
    assert "s" in secrets


@pytest.mark.parametrize(
    ("main", "settings", "why"),
    [
        (f"{HMAC}}}", {}, "the setting key has no value"),
        (f"{HMAC}}}", {"key": "s"}, None),
        ('signature: {type: hmac, header: "{header}", secrets: ["{key}"]}', {"key": "s"}, "header"),
        (f"{HMAC}, key: {{encoding: base64}}}}", {"key": "!"}, "the secret key is not base64"),
        (f'{HMAC}, template: "{{url}}{{body}}"}}', {"key": "s"}, "--public-url"),
        (
            "signature: {type: none}, handshake: {method: GET, when: param:c, respond: "
            '{body: "{hmac_hex:query.c}"}}',
            {},
            "a handshake is answered with a secret",
        ),
        (
            f"{HMAC}}}, handshake: {{method: GET, when: param:c, "
            'require: {type: token, at: param:t, secrets: ["{header}"]}}',
            {"key": "s"},
            "the setting header has no value",
        ),
    ],
)
def test_a_source_says_what_it_lacks(
    tmp_path: Path, main: str, settings: dict[str, Any], why: str | None
) -> None:
    told = loaded(tmp_path, main, **settings).unready
    assert (told is None) if why is None else why in (told or "")


def test_with_a_public_url_the_url_may_be_signed(tmp_path: Path) -> None:
    main = f'{HMAC}, template: "{{url}}{{body}}"}}'
    assert loaded(tmp_path, main, key="s", public_url="https://a.example").unready is None


def test_connectors_need_names_of_their_own_and_webhooks(tmp_path: Path) -> None:
    for file in ("a.yaml", "b.yaml"):
        (tmp_path / file).write_text(ACME)
    with pytest.raises(ConfigError, match="two connectors are called"):
        load_sources([str(tmp_path / "a.yaml"), str(tmp_path / "b.yaml")], {}, {}, None)
    (tmp_path / "c.yaml").write_text(ACME.partition("webhooks:")[0])
    with pytest.raises(ConfigError, match="have no webhooks"):
        load_sources([str(tmp_path / "c.yaml")], {}, {}, None)
    (tmp_path / "d.yaml").write_text(ACME.replace("type: hmac", "type: noop"))
    with pytest.raises(ConnectorError, match="noop"):
        load_sources([str(tmp_path / "d.yaml")], {}, {}, None)


def test_a_setting_is_given_to_whoever_has_it(tmp_path: Path) -> None:
    (tmp_path / "acme.yaml").write_text(ACME)
    (tmp_path / "part.yaml").write_text(PART.format(name="part", main=f"{{{HMAC}}}, {ROUTES}}}"))
    files = [str(tmp_path / "acme.yaml"), str(tmp_path / "part.yaml")]
    sources, _ = load_sources(files, {"key": "s", "hook_secret": "t"}, {}, None)
    assert sources["part/main"].unready is None
    assert sources["acme/main"].unready is None
    with pytest.raises(ConfigError, match="no connector has the setting kye"):
        load_sources(files, {"kye": "s"}, {}, None)


def test_an_event_is_named_by_its_places(tmp_path: Path) -> None:
    one = loaded(tmp_path, f"{HMAC}}}, id: header:X-Id", key="s")
    both = loaded(tmp_path, f"{HMAC}}}, id: [$.id, header:X-Id]", key="s")
    sent = request(b'{"id": 5}', X_Id="a")
    assert one.event_id(sent) == "a"
    assert both.event_id(sent) not in (None, one.event_id(sent))
    assert both.event_id(request(b'{"id": 5}')) is None
    assert both.event_id(request(b'{"id": "5\\n6"}', X_Id="a")) is None
    assert loaded(tmp_path, f"{HMAC}}}", key="s").event_id(sent) is None


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return loaded(tmp_path_factory.mktemp("stamped"), f"{STAMPED}, id: header:X-Id", key="s")


@given(st.binary(max_size=20), st.binary(max_size=20), st.integers(0, 3), st.integers(0, 3))
def test_without_its_id_an_event_is_named_by_body_and_signed_time(
    stamped: Source, one: bytes, other: bytes, at: int, later: int
) -> None:
    sent = [request(body, X_At=str(n), X_Signature="00") for body, n in ((one, at), (other, later))]
    names = [stamped.event_id(each) for each in sent]
    assert None not in names
    assert (names[0] == names[1]) == ((one, at) == (other, later))


def test_without_id_and_time_an_event_has_no_name(tmp_path: Path) -> None:
    assert loaded(tmp_path, f"{HMAC}}}, id: header:X-Id", key="s").event_id(request()) is None
    assert loaded(tmp_path, f"{STAMPED}, id: header:X-Id", key="s").event_id(request()) is None


def test_a_long_id_is_shortened_and_stays_its_own(tmp_path: Path) -> None:
    source = loaded(tmp_path, f"{HMAC}}}, id: header:X-Id", key="s")
    names = [source.event_id(request(X_Id="x" * n)) for n in (LONGEST_ID, 5_000, 5_001)]
    assert names[0] == "x" * LONGEST_ID
    assert len(set(names)) == 3
    assert all(len(name or "") <= LONGEST_ID for name in names)


@pytest.mark.parametrize(
    ("signature", "headers", "query"),
    [
        ('{type: token, at: header:X-Token, secrets: ["{key}"]}', {"x-more": "1"}, "a=1&t%2Dx=k"),
        ('{type: token, at: "param:t-x", secrets: ["{key}"]}', None, "a=1"),
        (
            '{type: basic, user: u, secrets: ["{key}"]}',
            {"x-token": "k", "x-more": "1"},
            "a=1&t%2Dx=k",
        ),
    ],
)
def test_what_bears_a_secret_is_not_kept(
    tmp_path: Path, signature: str, headers: dict[str, str] | None, query: str
) -> None:
    source = loaded(tmp_path, f"signature: {signature}", key="k")
    sent = request(X_Token="k", X_More="1", Authorization="Basic k", Cookie="k")
    if headers is not None:
        assert source.kept_headers(sent) == headers
    assert source.kept_query("a=1&t%2Dx=k") == query


BRINGS = (
    "handshake: {when: header:X-Hook, require: {type: none}, "
    "store: {take: header:X-Hook, setting: key}}"
)


@pytest.mark.parametrize("name", ["key", "spare"])
def test_brought_secrets_are_good_beside_the_setting_which_stays_the_first(
    tmp_path: Path, name: str
) -> None:
    main = f"{HMAC}}}, {BRINGS}".replace("{key}", f"{{{name}}}").replace("ing: key", f"ing: {name}")
    bare = loaded(tmp_path, main)
    why = f"no handshake has brought {name}: run saasctl webhooks subscribe or expect"
    assert bare.unready == bare.with_secrets({name: []}).unready == why
    one = bare.with_secrets({name: ["new-secret", "old-secret"]})
    assert one.unready is None
    assert one.form.signature.keys(one.values) == [b"new-secret", b"old-secret"]
    given = loaded(tmp_path, main, **{name: "own"}).with_secrets({name: ["new-secret"]})
    assert given.form.signature.keys(given.values) == [b"own", b"new-secret"]
    more = given.with_secrets({name: ["newer"]})
    assert more.form.signature.keys(more.values) == [b"own", b"new-secret", b"newer"]


def test_a_brought_secret_that_is_not_written_as_a_key_is_left_out(tmp_path: Path) -> None:
    bare = loaded(tmp_path, f"{HMAC}, key: {{encoding: base64}}}}, {BRINGS}")
    assert (bare.takes("key", "bm90ZQ=="), bare.takes("key", "no base64!")) == (True, False)
    both = bare.with_secrets({"key": ["no base64!", "bm90ZQ=="]})
    assert both.form.signature.keys(both.values) == [b"note"]


def test_with_another_secret_events_are_taken_before_one_is_brought(tmp_path: Path) -> None:
    two = HMAC.replace('["{key}"]', '["{key}", "{spare}"]')
    source = loaded(tmp_path, f"{two}}}, {BRINGS}".replace("ing: key", "ing: spare"), key="s")
    assert source.unready is None
    later = source.with_secrets({"spare": ["a-secret"]})
    assert later.form.signature.keys(later.values) == [b"s", b"a-secret"]


def test_where_a_secret_is_brought_is_not_kept(tmp_path: Path) -> None:
    source = loaded(tmp_path, f"{HMAC}}}, {BRINGS}")
    assert source.kept_headers(request(X_Hook="a-secret", X_More="1")) == {"x-more": "1"}
    param = loaded(tmp_path, f"{HMAC}}}, {BRINGS}".replace("take: header:", "take: param:"))
    assert param.kept_query("a=1&X-Hook=b") == "a=1"


def test_metrics_are_prometheus_text() -> None:
    metrics, now = Metrics(), utc_now()
    metrics.answered("a/b", 200, 0.004)
    metrics.answered("", 404, 99.0)
    metrics.refused("a/b", 'odd "reason"\n\\')
    queue = Status(
        epoch="e",
        sources=[
            SourceStatus(
                source="a/b", events=3, bytes=10, first_offset=1, last_offset=3,
                oldest_received_at=now, waiting_since=now, acknowledged={"main": 2},
                purged_offset=None,
            )
        ],
        refused=[], file_bytes=5, free_bytes=None, refusal=None,
    )  # fmt: skip
    text = metrics.text(7, True, queue, now)
    assert text.endswith("\n")
    for line in text.splitlines():
        assert line.startswith("# ") or line.rpartition(" ")[2].replace(".", "").isdigit(), line
    assert 'reason="odd \\"reason\\"\\n\\\\"} 1' in text
    assert 'answer_seconds_bucket{le="0.005"} 1\n' in text
    assert 'answer_seconds_bucket{le="10.0"} 1\n' in text
    assert 'answer_seconds_bucket{le="+Inf"} 2\n' in text
    assert 'queue_acknowledged_offset{source="a/b",consumer="main"} 2\n' in text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
    assert "queue_events" not in metrics.text(0, False, None, now)
