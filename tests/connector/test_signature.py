"""Signatures: the vectors of real providers, and what must never pass."""

from __future__ import annotations

import functools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_saas.connector.decoding import decode
from tap_saas.connector.proof import decoded
from tap_saas.connector.signature import MAX_CANDIDATES, Signature, SignedRequest
from tap_saas.connector.signed_text import form_sorted
from tap_saas.errors import ConfigError

FILE = json.loads((Path(__file__).parent / "signature_vectors.json").read_text())
DESCRIBED: dict[str, Any] = FILE["signatures"]
VECTORS: list[dict[str, Any]] = FILE["vectors"]
GOOD = [vector for vector in VECTORS if vector["expect"]]
# Only their private key, which is the provider's, can sign.
ASYMMETRIC = {"standard_webhooks_ed25519", "sendgrid"}
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BODY = b'{"id":"evt_1","type":"order.changed"}'


def signature(**described: Any) -> Signature:
    form = {"secrets": ["{secret}"], **described}
    made: Signature = msgspec.convert(form, Signature, dec_hook=decode)
    return made


@functools.cache
def of(provider: str) -> Signature:
    return signature(**DESCRIBED[provider])


def request(body: bytes = BODY, **headers: str) -> SignedRequest:
    named = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    return SignedRequest(
        method="POST", url="https://a.example/webhooks/x/y", headers=named, body=body
    )


def received(vector: dict[str, Any]) -> SignedRequest:
    return SignedRequest(
        method=vector["method"],
        url=vector.get("url", "https://a.example/webhooks/x/y"),
        headers={name.lower(): value for name, value in vector["headers"].items()},
        body=vector["body"].encode(),
    )


def at(vector: dict[str, Any]) -> datetime:
    return datetime.fromtimestamp(vector.get("now", 1_700_000_000), UTC)


def named(vector: dict[str, Any]) -> str:
    return f"{vector['provider']}: {vector['name']}"


@pytest.mark.parametrize("vector", VECTORS, ids=named)
def test_the_vectors_of_providers(vector: dict[str, Any]) -> None:
    values = {"secret": vector["secret"]}
    made = of(vector["provider"])
    assert made.unready(values) is None
    why = made.refuse(received(vector), at(vector), values)
    assert (why is None) == vector["expect"], why


def test_every_vector_names_where_it_is_from() -> None:
    assert len(VECTORS) == 56
    for vector in VECTORS:
        source = vector["source"]
        assert source["licence"]
        assert vector.get("derived") or {"repo", "path", "commit"} <= source.keys()


def flipped(text: str, n: int) -> str:
    """The text with its n-th letter another one, whatever the case."""
    old = text[n]
    return f"{text[:n]}{'0' if old != '0' else '1'}{text[n + 1 :]}"


@given(st.sampled_from(GOOD), st.integers(min_value=0), st.integers(1, 255))
def test_one_other_byte_of_the_body_is_refused(vector: dict[str, Any], n: int, bits: int) -> None:
    sent, made = received(vector), of(vector["provider"])
    body = bytearray(sent.body or b"?")
    body[n % len(body)] ^= bits
    other = msgspec.structs.replace(sent, body=bytes(body))
    why = made.refuse(other, at(vector), {"secret": vector["secret"]})
    if sent.is_form:  # a form is signed sorted: pairs may say the same in other bytes
        assert (why is None) == (form_sorted(other) == form_sorted(sent))
    else:
        assert why is not None


def signed_values(provider: str, headers: dict[str, str]) -> list[tuple[str, int]]:
    """Every letter in these headers that the signature depends on: header and place."""
    form = DESCRIBED[provider]
    names = {name.lower() for name in headers}
    wanted = form["header"] if isinstance(form["header"], list) else [form["header"]]
    signatures = [name.lower() for name in wanted if name.lower() in names]
    others = [form.get("timestamp", {}).get("header"), form.get("id", {}).get("header")]
    lists = [one if isinstance(one, list) else [one] for one in others if one]
    plain = [name.lower() for names_ in lists for name in names_ if name.lower() in names]
    places = [(name, n) for name in plain for n in range(len(headers[name]))]
    name = signatures[0]
    start = 0
    for item in headers[name].split(form["items"]) if form.get("items") else [headers[name]]:
        version = item.partition(form["pair"])[0] if form.get("pair") else ""
        counts = version in [*form.get("accept", [""]), form.get("timestamp", {}).get("pair")]
        places += [(name, start + n) for n in range(len(item))] if counts else []
        start += len(item) + 1
    return places


@given(st.sampled_from(GOOD), st.data())
def test_one_other_letter_of_a_signed_header_is_refused(
    vector: dict[str, Any], data: st.DataObject
) -> None:
    sent, made = received(vector), of(vector["provider"])
    if "," in vector["headers"].get("Stripe-Signature", "") and "second" in vector["name"]:
        return  # one of its signatures is wrong from the start
    if "multiple" in vector["name"]:
        return
    name, n = data.draw(
        st.sampled_from(signed_values(vector["provider"], dict(sent.headers))), label="letter"
    )
    other = sent.with_header(name, flipped(sent.headers[name], n))
    assert made.refuse(other, at(vector), {"secret": vector["secret"]}) is not None


@given(st.sampled_from(GOOD), st.integers(min_value=0))
def test_one_other_letter_of_the_secret_is_refused(vector: dict[str, Any], n: int) -> None:
    made, secret = of(vector["provider"]), vector["secret"]
    prefix = DESCRIBED[vector["provider"]].get("key", {}).get("strip") or ""
    start = len(prefix) if secret.startswith(prefix) else 0
    end = len(secret.rstrip("=")) - 1  # the last letter of base64 has bits that say nothing
    values = {"secret": flipped(secret, start + n % (end - start))}
    if made.unready(values) is None:
        assert made.refuse(received(vector), at(vector), values) is not None


@pytest.mark.parametrize("provider", sorted(DESCRIBED.keys() - ASYMMETRIC))
@settings(max_examples=20)
@given(body=st.binary(max_size=60), secret=st.text(min_size=1, max_size=20), ms=st.integers(0, 999))
def test_what_is_signed_is_genuine(provider: str, body: bytes, secret: str, ms: int) -> None:
    form = DESCRIBED[provider]
    if form.get("key"):
        secret = "whsec_" + secret.encode("utf-8", "replace").hex()
        secret += "A" * (-(len(secret) - 6) % 4)
    if provider == "linear":
        body = json.dumps({"body": body.hex()}).encode()
    secret = secret.encode("utf-8", "replace").decode()
    now, values, made = NOW + timedelta(milliseconds=ms), {"secret": secret}, of(provider)
    sent = made.sign(request(body), now, values)
    assert made.refuse(sent, now, values) is None
    assert made.refuse(sent, now, {"secret": secret + "BBBB"}) is not None


@pytest.mark.parametrize("provider", sorted(ASYMMETRIC))
def test_only_the_provider_signs_with_its_private_key(provider: str) -> None:
    vector = next(one for one in GOOD if one["provider"] == provider)
    with pytest.raises(ConfigError, match="only the provider"):
        of(provider).sign(request(), NOW, {"secret": vector["secret"]})


TIMED = [("slack", 300), ("linear", 60), ("hubspot_v3", 300), ("zendesk", 300)]


@pytest.mark.parametrize(("provider", "tolerance"), TIMED)
def test_the_edges_of_the_tolerance(provider: str, tolerance: int) -> None:
    made, values, edge = of(provider), {"secret": "s"}, timedelta(seconds=tolerance)
    sent = made.sign(request(), NOW, values)
    beyond = edge + timedelta(milliseconds=1)
    assert [made.refuse(sent, NOW + by, values) for by in (edge, -edge)] == [None, None]
    assert made.refuse(sent, NOW + beyond, values) == "the timestamp is too old"
    assert made.refuse(sent, NOW - beyond, values) == "the timestamp is in the future"


def test_no_tolerance_takes_any_age() -> None:
    form = DESCRIBED["slack"]
    made = signature(**{**form, "timestamp": {**form["timestamp"], "tolerance": None}})
    sent = made.sign(request(), NOW, {"secret": "s"})
    assert made.refuse(sent, NOW + timedelta(days=9_000), {"secret": "s"}) is None


SECRETS = ["{new}", "{old}"]


def test_rotation_takes_each_secret_that_has_a_value() -> None:
    made = signature(**{**DESCRIBED["github"], "secrets": SECRETS})
    old = made.sign(request(), NOW, {"old": "before"})
    new = made.sign(request(), NOW, {"new": "after", "old": "before"})
    both, only_new = {"new": "after", "old": "before"}, {"new": "after"}
    assert [made.refuse(sent, NOW, both) for sent in (old, new)] == [None, None]
    assert made.refuse(new, NOW, only_new) is None
    assert made.refuse(old, NOW, only_new) == "the signature does not fit"
    assert made.refuse(old, NOW, {"new": "after", "old": ""}) == "the signature does not fit"


@pytest.mark.parametrize("provider", sorted(DESCRIBED))
def test_without_a_secret_it_is_unready_and_says_which_setting(provider: str) -> None:
    for values in ({}, {"secret": ""}, {"secret": None}):
        assert of(provider).unready(values) == "the setting secret has no value"


@pytest.mark.parametrize(
    ("provider", "secret", "why"),
    [
        ("svix", "whsec_not base64", "the secret secret is not base64"),
        ("standard_webhooks_ed25519", "whpk_AAAA", "the secret secret is not the 32 bytes"),
        ("sendgrid", "AAAA", "the secret secret is not the DER"),
    ],
)
def test_a_secret_that_is_none_is_unready_and_not_shown(
    provider: str, secret: str, why: str
) -> None:
    told = of(provider).unready({"secret": secret}) or ""
    assert told.startswith(why)
    assert secret not in told


@pytest.mark.parametrize("provider", sorted(DESCRIBED))
def test_without_its_header_nothing_is_genuine(provider: str) -> None:
    vector = next(one for one in GOOD if one["provider"] == provider)
    sent = msgspec.structs.replace(received(vector), headers={})
    values = {"secret": vector["secret"]}
    assert of(provider).refuse(sent, at(vector), values) == "no signature header"


ODD = st.text(st.characters(max_codepoint=255), max_size=40) | st.sampled_from(
    [
        "v1,",
        "v1",
        "t=",
        "t=,v1=",
        "v1=",
        ",,,",
        "sha256=",
        "=",
        " ",
        "t=1e9,v1=00",
        "v0=" + "f" * 64,
    ]
)


@given(st.sampled_from(GOOD), ODD, ODD, st.binary(max_size=30))
def test_malformed_headers_and_bodies_never_raise(
    vector: dict[str, Any], text: str, stamp: str, body: bytes
) -> None:
    form = DESCRIBED[vector["provider"]]
    names = form["header"] if isinstance(form["header"], list) else [form["header"]]
    sent = msgspec.structs.replace(received(vector), body=body).with_header(names[0], text)
    if form.get("timestamp", {}).get("header"):
        sent = sent.with_header(form["timestamp"]["header"], stamp)
    values = {"secret": vector["secret"]}
    assert of(vector["provider"]).refuse(sent, at(vector), values) is not None


@pytest.mark.parametrize("text", ["", "x", "1e400", "-1", "9" * 39, "9" * 99, "NaN", "²", "1_0"])
def test_a_timestamp_that_is_none_is_refused_though_it_is_signed(text: str) -> None:
    made = signature(**DESCRIBED["slack"])
    loose = signature(
        **{**DESCRIBED["slack"], "timestamp": {"header": "X-Other", "unit": "rfc3339"}}
    )
    for one, name in ((made, "X-Slack-Request-Timestamp"), (loose, "X-Other")):
        sent = one.sign(request(), NOW, {"secret": "s"}).with_header(name, text)
        assert str(one.refuse(sent, NOW, {"secret": "s"})).startswith("the timestamp")


def test_a_body_needs_to_be_no_text() -> None:
    body, made = b"\xff\xfe\x00{\x80", of("github")
    sent = made.sign(request(body), NOW, {"secret": "s"})
    assert made.refuse(sent, NOW, {"secret": "s"}) is None
    assert of("linear").refuse(sent.with_header("Linear-Signature", "00"), NOW, {"secret": "s"})


def test_many_signatures_are_not_looked_at() -> None:
    made, values = of("stripe"), {"secret": "s"}
    sent = made.sign(request(), NOW, values)
    header = sent.headers["stripe-signature"]
    few = header + ",v1=00" * (MAX_CANDIDATES - 1)
    assert made.refuse(sent.with_header("Stripe-Signature", few), NOW, values) is None
    many = sent.with_header("Stripe-Signature", few + ",v1=00")
    assert made.refuse(many, NOW, values) == "too many signatures"


def test_a_body_that_a_url_signature_does_not_cover_is_refused() -> None:
    made, values = of("twilio"), {"secret": "s"}
    empty = made.sign(
        SignedRequest(method="POST", url="https://a.example/x", headers=FORM, body=b""), NOW, values
    )
    assert made.refuse(empty, NOW, values) is None
    for kind in ("application/json", "text/plain", ""):
        other = msgspec.structs.replace(empty, body=b"{}").with_header("Content-Type", kind)
        assert made.refuse(other, NOW, values) == "the body is not covered by the signature"


FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


def test_a_signature_over_json_is_not_one_over_an_empty_form() -> None:
    made, values = of("twilio"), {"secret": "s"}
    sent = made.sign(request(b'{"a": 1}', Content_Type="application/json"), NOW, values)
    assert made.refuse(sent, NOW, values) is None
    other = msgspec.structs.replace(sent, body=b"", headers={**sent.headers, **FORM})
    assert made.refuse(other, NOW, values) == "the body is not covered by the signature"


@pytest.mark.parametrize("text", ["AR==", "AQ", "AQ= =", "A Q==", "\xe9", "AQ==AQ=="])
def test_base64_is_written_in_one_way(text: str) -> None:
    assert decoded("AQ==", "base64") == b"\x01"
    assert decoded(text, "base64") is None


def test_the_first_header_that_is_there_wins() -> None:
    made, values = of("shopify"), {"secret": "s"}
    sent = made.sign(request(), NOW, values)
    good = sent.headers["x-shopify-hmac-sha256"]
    assert made.refuse(request(Shopify_Hmac_Sha256=good), NOW, values) is None
    both = request(Shopify_Hmac_Sha256=good, X_Shopify_Hmac_Sha256="no")
    assert made.refuse(both, NOW, values) is not None


def test_hexadecimal_signatures_may_be_in_capitals() -> None:
    made, values = of("linear"), {"secret": "s"}
    sent = made.sign(request(), NOW, values)
    loud = sent.with_header("Linear-Signature", sent.headers["linear-signature"].upper())
    assert made.refuse(loud, NOW, values) is None


@pytest.mark.parametrize(
    ("place", "found"),
    [("header:X-Token", "header"), ("param:token", "param"), ("$.auth.token", "body")],
)
def test_a_token_is_the_secret_itself(place: str, found: str) -> None:
    made = signature(type="token", at=place, secrets=SECRETS)
    values = {"new": "söm€", "old": "before"}
    if found == "header":
        values["new"] = "some"
    sent = made.sign(request(), NOW, values)
    assert made.refuse(sent, NOW, values) is None
    assert made.refuse(sent, NOW, {"new": "other"}) == "the token is not ours"
    assert made.refuse(request(), NOW, values) == f"no token at {place}"
    assert made.refuse(made.sign(request(), NOW, {"old": "before"}), NOW, values) is None


@pytest.mark.parametrize(
    ("states", "fits"),
    [
        (["s", "s"], True),
        (["s", "x"], False),
        ([], False),
        (["s", None], False),
        (["\ud800"], False),
    ],
)
def test_every_match_of_a_token_in_the_body_must_be_it(states: list[Any], fits: bool) -> None:
    made = signature(type="token", at="$.value[*].state", secrets=["s"])
    body = json.dumps({"value": [{"state": state} for state in states]}).encode()
    assert (made.refuse(request(body), NOW, {}) is None) == fits


def test_a_prefix_stands_before_a_token() -> None:
    made = signature(type="token", at="header:Authorization", prefix="Bearer ")
    assert made.refuse(request(Authorization="Bearer s"), NOW, {"secret": "s"}) is None
    assert made.refuse(request(Authorization="s"), NOW, {"secret": "s"}) is not None


def test_basic_is_user_and_password() -> None:
    made = signature(type="basic", user="{user}", secrets=SECRETS)
    values = {"user": "ann", "new": "pä:ss", "old": "before"}
    sent = made.sign(request(), NOW, values)
    assert made.refuse(sent, NOW, values) is None
    assert made.refuse(sent, NOW, {**values, "new": "x"}) == "the user or password is not ours"
    for odd in ("", "Basic", "Basic !!", "Bearer x", "Basic  "):
        assert made.refuse(request(Authorization=odd), NOW, values) is not None
    assert made.unready({"new": "x"}) == "the setting new and old has no value"


def test_no_signature_must_be_said() -> None:
    assert msgspec.convert({"type": "none"}, Signature, dec_hook=decode).refuse(
        request(), NOW, {}
    ) is None  # fmt: skip
    for form in ({}, {"type": "noop"}, {"type": "none", "secrets": ["x"]}, {"type": None}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(form, Signature, dec_hook=decode)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"pair": "="}, "go together"),
        ({"accept": ["v1"]}, "go together"),
        ({"template": "{ts}"}, "signs nothing of the body"),
        ({"template": "{url}"}, "signs nothing of the body"),
        ({"template": "{ts}{body}"}, "needs `timestamp`"),
        ({"timestamp": {"header": "X"}}, "is not signed"),
        ({"timestamp": {"pair": "t"}, "template": "{ts}{body}"}, "needs `pair`"),
        ({"timestamp": {}}, "needs one of"),
        ({"timestamp": {"header": "X", "body": "$.a"}}, "needs one of"),
        ({"template": "{id}{body}"}, "go together"),
        ({"id": {"header": "X"}}, "go together"),
        ({"template": "{boby}"}, "unknown placeholder"),
        ({"template": "{body:json}"}, "unknown placeholder"),
        ({"template": 5}, "a text is needed"),
        ({"items": ""}, "must not be empty"),
        ({"header": []}, "must not be empty"),
        ({"type": "digest"}, "anybody could make it"),
    ],
)
def test_descriptions_that_protect_from_nothing_are_refused(
    change: dict[str, Any], why: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        signature(**{"type": "hmac", "header": "X-Signature", **change})
