"""No secret survives masking, however it is written."""

from __future__ import annotations

import io
import json
import logging
from base64 import b64encode, urlsafe_b64encode
from urllib.parse import quote, quote_plus, urlencode

from hypothesis import given
from hypothesis import strategies as st

from tap_saas.redact import (
    KEPT,
    LONGEST_LINE,
    MASK,
    MaskingFormatter,
    Redactor,
    mask_known,
    mask_logs,
    masked_value,
    shortened,
    storable,
)

# Around a secret stand letters that are no part of it, so that a cut is seen.
SECRETS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="*<>"), min_size=4, max_size=40
)
AROUND = st.text("<>", max_size=10)


@given(secret=SECRETS, before=AROUND, after=AROUND)
def test_a_secret_is_masked_in_every_form(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for form in (
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        quote(secret, safe="").lower() if secret == secret.lower() else quote(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        repr(secret)[1:-1],
        urlencode({"k": secret})[2:],
    ):
        assert redactor.mask(f"{before}{form}{after}") == f"{before}{MASK}{after}"


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=40),
    user=st.text("abcdef", max_size=9),
    tail=st.text("xyz", max_size=4),
)
def test_a_secret_inside_base64_is_masked(secret: str, user: str, tail: str) -> None:
    redactor = Redactor([secret])
    pair = f"{user}:{secret}{tail}".encode()
    for encoded in (b64encode(pair).decode(), urlsafe_b64encode(pair).decode()):
        assert MASK in redactor.mask(f"Authorization: Basic {encoded}")


@given(texts=st.lists(SECRETS, min_size=1, max_size=5), text=st.text(max_size=80))
def test_masking_twice_changes_nothing_more(texts: list[str], text: str) -> None:
    redactor = Redactor(texts)
    once = redactor.mask(text)
    assert redactor.mask(once) == once


def test_the_longer_of_two_secrets_is_masked_whole() -> None:
    assert Redactor(["abcd", "abcdefgh"]).mask("abcdefgh abcd") == f"{MASK} {MASK}"


@given(
    secret=SECRETS.filter(lambda secret: len(secret) > 16 and "." not in secret[:8]),
    cut=st.integers(8, 15),
)
def test_the_beginning_of_a_secret_where_a_text_was_cut_is_masked(secret: str, cut: int) -> None:
    redactor = Redactor([secret])
    for mark in ("...", "…"):
        shown = secret[:cut].rstrip(".")  # its own dots may be part of the mark
        assert redactor.mask(f"<{shown}{mark}>") == f"<{MASK}{mark}>"


@given(secret=SECRETS)
def test_a_secret_in_JSON_in_JSON_is_masked(secret: str) -> None:  # noqa: N802 - its name
    redactor, text = Redactor([secret]), secret
    for _ in range(3):
        text = json.dumps({"<": text})
        assert MASK in redactor.mask(text)
        assert json.dumps(secret)[1:-1] not in redactor.mask(text)


def test_values_are_masked_at_every_depth() -> None:
    mask = Redactor(["s3cr3t"]).mask
    value = {"a s3cr3t": ["s3cr3t", {"b": "x s3cr3t"}, 5, None]}
    assert masked_value(value, mask) == {f"a {MASK}": [MASK, {"b": f"x {MASK}"}, 5, None]}


def test_a_line_that_nobody_would_read_is_shortened_after_it_was_masked() -> None:
    line = "a" * (LONGEST_LINE // 2 - 12) + "s3cr3t-value" + "b" * LONGEST_LINE
    shown = shortened(Redactor(["s3cr3t-value"]).mask(line))
    assert len(shown) <= LONGEST_LINE
    assert "s3c" not in shown
    assert shortened("x\n" * LONGEST_LINE) == "x\n" * LONGEST_LINE


def test_the_edge_of_a_process_masks_what_any_redactor_knows() -> None:
    known = [Redactor(["first-secret"]), Redactor(["second-secret"])]
    assert mask_known("first-secret second-secret") == f"{MASK} {MASK}"
    assert len(known) == 2


def test_half_letters_are_replaced_for_files() -> None:
    assert storable("a\ud800b é") == "a?b é"


def test_short_values_are_left_alone() -> None:
    assert Redactor(["", "a", "abc"]).mask("abc is a word") == "abc is a word"


def test_without_secrets_a_text_stays_as_it_is() -> None:
    assert Redactor().mask("plain") == "plain"


def test_learnt_tokens_are_masked_and_only_the_newest_are_kept() -> None:
    redactor = Redactor(["configured"])
    for number in range(KEPT + 1):
        redactor.learn(f"token-{number:03}")
    assert redactor.mask(f"token-000 token-001 token-{KEPT:03}") == f"token-000 {MASK} {MASK}"
    assert redactor.mask("configured") == MASK


def handler(formatter: logging.Formatter | None) -> tuple[logging.Handler, io.StringIO]:
    stream = io.StringIO()
    made = logging.StreamHandler(stream)
    made.setFormatter(formatter)
    return made, stream


def test_no_handler_leaks_in_message_arguments_or_traceback() -> None:
    redactor = Redactor(["s3cr3t-value"])
    logger = logging.getLogger("test_redact.deep")
    logger.propagate = False
    first, plain = handler(None)
    second, shaped = handler(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(first)
    logger.addHandler(second)
    try:
        mask_logs(redactor)
        mask_logs(redactor)
        try:
            raise ValueError("key=s3cr3t-value")
        except ValueError:
            logger.exception("failed with %s", {"api_key": "s3cr3t-value"})
        inner = second.formatter
        assert isinstance(inner, MaskingFormatter)
        assert not isinstance(inner.inner, MaskingFormatter)
    finally:
        logger.removeHandler(first)
        logger.removeHandler(second)
    for text in (plain.getvalue(), shaped.getvalue()):
        assert "s3cr3t" not in text
        assert "Traceback" in text
    assert shaped.getvalue().startswith("ERROR failed with {'api_key': '***'}")


def test_another_run_replaces_the_redactor() -> None:
    logger = logging.getLogger("test_redact.again")
    logger.propagate = False
    made, stream = handler(None)
    logger.addHandler(made)
    try:
        mask_logs(Redactor(["first-secret"]))
        mask_logs(Redactor(["second-secret"]))
        logger.warning("first-secret second-secret")
    finally:
        logger.removeHandler(made)
    assert stream.getvalue() == f"first-secret {MASK}\n"
