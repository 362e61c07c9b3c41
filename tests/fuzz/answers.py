"""Answers that are wrong in all the ways that were thought of; each is tried in several places."""

from __future__ import annotations

import gzip

from hostile_api import Raw, answer

GOOD = b'{"data":[{"id":1,"updated_at":"2025-01-01T00:00:00Z","n":1}],"next":null}'


def record(value: bytes, name: bytes = b"x") -> bytes:
    """A page with one record that has this value."""
    return GOOD.replace(b'"n":1}', b'"n":1,"' + name + b'":' + value + b"}")


def keyed(value: bytes) -> bytes:
    """A page with one record whose key, version and counter are this value."""
    return b'{"data":[{"id":%b,"updated_at":%b,"n":%b,"at":%b}]}' % (value, value, value, value)


def ends(value: bytes) -> bytes:
    """A page whose words about the next one are this value."""
    return (
        b'{"data":[{"id":1,"updated_at":"2025-01-01T00:00:00Z","n":1}],'
        b'"next":%b,"links":{"next":%b},"total":%b,"more":%b}' % (value, value, value, value)
    )


def deep(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


def deep_object(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def raw(head: bytes, end: str = "close") -> Raw:
    return Raw(b"HTTP/1.1 " + head, end)  # type: ignore[arg-type]


VALUES = (
    b"null", b"true", b"{}", b"[]", b"[[1]]", b'{"a":{"b":[1]}}', b"1.5", b"-1", b"1e300", b"1e999",
    b"NaN", b"-Infinity", b"9" * 400, b"9" * 5_000, b"1." + b"3" * 5_000, b"1e400000", b'""',
    b'"\\u0000"', b'"\\ud800"', b'"a\\nb"', b'"\xff\xfe"', b'"' + b"k" * 50_000 + b'"',
    b'"0001-01-01T00:00:00+14:00"', b'"9999-12-31T23:59:59-14:00"', b'"2025-02-30T00:00:00Z"',
    deep(100), deep(450), deep(900), deep(985), deep(5_000), deep_object(300), deep_object(950),
    b'{"\\ud800":1,"":{"":1},"a\\u0000":2}', b'"http://["', b'"http://127.0.0.1:99999/"',
    b'"ftp://x/y"', b'"file:///etc/passwd"', b'"http://a@b/"', b'"http://%b.invalid/"' % (b"a" * 70),
    b'"/x\\nInjected: 1"', b'"//"', b'"?page=2"',
)  # fmt: skip
BODIES: dict[str, bytes] = {
    **{f"value {n} in a record": record(value) for n, value in enumerate(VALUES)},
    **{f"value {n} in a key": keyed(value) for n, value in enumerate(VALUES)},
    **{f"value {n} for the end": ends(value) for n, value in enumerate(VALUES)},
    **{f"value {n} for the list": b'{"data":%b}' % value for n, value in enumerate(VALUES)},
    **{f"value {n} as a record": b'{"data":[%b]}' % value for n, value in enumerate(VALUES)},
    **{f"value {n} alone": value for n, value in enumerate(VALUES)},
    "nothing": b"",
    "spaces": b" \n" * 1_000,
    "a NUL name": record(b"1", b"a\\u0000b"),
    "half a letter as a name": record(b"1", b"\\ud800"),
    "no name": record(b"1", b""),
    "a long name": record(b"1", b"f" * 5_000),
    "a broken name": record(b"1", b"\xff"),
    "many names": record(b",".join(b'"f%d":%d' % (n, n) for n in range(2_000)).join((b"{", b"}"))),
    "a column for each": record(b"0," + b",".join(b'"f%d":%d' % (n, n) for n in range(2_000))),
    "names twice": b'{"data":[],"data":[{"id":1,"id":2,"updated_at":"x"}],"next":1,"next":null}',
    "cut": GOOD[:-5],
    "more behind": GOOD + b"x",
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "a page of HTML": b"<html><title>Hi\n there</title>" + b"x" * 50_000,
    "an endless list": b"[" * 500_000,
    "too much": b'{"data":["' + b"x" * 3_000_000 + b'"]}',
    "gzip without saying so": gzip.compress(GOOD),
    **{
        f"token {n}": body
        for n, body in enumerate((
            b'{"access_token":1}', b'{"access_token":""}', b'{"access_token":"a b\\n"}',
            b'{"access_token":"\\u4e2d"}', b'{"access_token":"\\ud800"}',
            b'{"access_token":"x","expires_in":1e300}', b'{"access_token":"x","expires_in":NaN}',
            b'{"access_token":"x","expires_in":86399999999999}',
            b'{"access_token":"x","expires_in":0.0001}', b'{"access_token":"x","expires_in":{}}',
            b'{"error":{"a":1}}', b'{"error":"x","error_description":"a\\nb"}',
            b'{"access_token":"x","refresh_token":5,"y":' + deep(900) + b"}",
        ))
    },
}  # fmt: skip
DATES = (
    "nan", "inf", "-inf", "1e400", "-5", "", "abc", "99999999999999999999", "9" * 5_000, "1.5", "0",
    "Thu, 01 Jan 9999 00:00:00 -2359", "Fri, 31 Dec 9999 23:59:59 -2359", "\xb2", "0x10",
    "Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 99 Foo 2020 99:99:99 GMT", "Wed, 21 Oct 2015 07:28:00",
    "Mon, 01 Jan 2024 00:00:00 +9999",
)  # fmt: skip
LINKS = (
    "<", "<>", "<>; rel=next", '</x>; rel="next', "<http://[>; rel=next", "<" * 50_000,
    "<a>" * 15_000 + "; rel=next", '</x>; rel="' + "\\" * 5_000, "<x>" + ";a=b" * 10_000,
)  # fmt: skip
LOCATIONS = (
    "", "/", "x", "http://", "http://[", "//", "http://127.0.0.1:1/", "\\\\evil", "javascript:1", "?a",
    "http://a@b/", "http://\x80/", "http://127.0.0.1:abc/", "http:///x", "https://127.0.0.1:1/", "#b",
    "http://xn--a/", "http://%00/", "http://a b/",
)  # fmt: skip
STATUSES = (
    0, 101, 199, 201, 202, 204, 206, 300, 304, 305, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409,
    410, 418, 419, 421, 422, 425, 426, 431, 451, 500, 501, 503, 511, 599, 600, 700,
)  # fmt: skip
HEADED: dict[str, Raw] = {
    **{
        f"{name}: {value[:40]}": answer(GOOD, 200, {name: value})
        for name in ("Retry-After", "Date", "Age", "X-Left", "X-Reset")
        for value in DATES
    },
    **{f"503 {text[:40]}": answer(b"", 503, {"Retry-After": text, "Date": text}) for text in DATES},
    **{f"Link: {text[:40]} {len(text)}": answer(GOOD, 200, {"Link": text}) for text in LINKS},
    **{f"Location: {text}": answer(b"", 302, {"Location": text}) for text in LOCATIONS},
    **{f"status {number}": answer(b'{"message":"no\\nway"}', number) for number in STATUSES},
    "429": answer(b"", 429, {"Retry-After": "soon"}),
    "gzip that is none": answer(b"none", 200, {"Content-Encoding": "gzip"}),
    "gzip, cut": answer(gzip.compress(GOOD)[:20], 200, {"Content-Encoding": "gzip"}),
    "gzip, wrong sum": answer(
        gzip.compress(GOOD)[:-8] + b"\0" * 8, 200, {"Content-Encoding": "gzip"}
    ),
    "gzip, fifty times": answer(GOOD, 200, {"Content-Encoding": ", ".join(["gzip"] * 50)}),
    "deflate that is none": answer(b"zzz", 200, {"Content-Encoding": "deflate"}),
    "an unknown encoding": answer(GOOD, 200, {"Content-Encoding": "rot13"}),
    "a gzip bomb": answer(gzip.compress(b" " * 30_000_000), 200, {"Content-Encoding": "gzip"}),
}
WIRE: dict[str, Raw] = {
    "bytes missing": answer(GOOD, 200, missing=10),
    "nothing but missing bytes": answer(b"", 200, missing=10),
    "closed at once": Raw(b"", "close"),
    "reset at once": Raw(b"", "reset"),
    "reset in the body": raw(b"200 OK\r\nContent-Length: 100\r\n\r\nabc", "reset"),
    "garbage": Raw(b"\x00\x01\x02garbage\r\n\r\n"),
    "HTTP/0.9": Raw(b"hello"),
    "no number as status": raw(b"abc OK\r\n\r\n"),
    "a short status": raw(b"99 X\r\nContent-Length: 0\r\n\r\n"),
    "a long status": raw(b"1000 X\r\nContent-Length: 0\r\n\r\n"),
    "an endless status": raw(b"200 " + b"a" * 200_000 + b"\r\n\r\n{}"),
    "many 100s": Raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 50 + b"HTTP/1.1 200 OK\r\n\r\n{}"),
    "many headers": raw(
        b"200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(5_000)) + b"\r\n{}"
    ),
    "a long header": raw(b"200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n{}"),
    "a header without a colon": raw(b"200 OK\r\nno colon\r\n: x\r\nContent-Length: 2\r\n\r\n{}"),
    "a negative length": raw(b"200 OK\r\nContent-Length: -5\r\n\r\n{}"),
    "a length that is no number": raw(b"200 OK\r\nContent-Length: abc\r\n\r\n{}"),
    "two lengths": raw(b"200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a huge length": raw(b"200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}"),
    "a chunk of no size": raw(b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc"),
    "a cut chunk": raw(b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    "a negative chunk": raw(
        b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabcde\r\n0\r\n\r\n"
    ),
    "a huge chunk": raw(b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"),
    "an endless size": raw(
        b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 200_000 + b"\r\n"
    ),
    "chunks without an end": raw(b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
    "many trailers": raw(
        b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 1_000 + b"\r\n"
    ),
}
SLOW: dict[str, Raw] = {
    "no answer": Raw(b"", "hang"),
    "half a header": raw(b"200 OK\r\nContent-", "hang"),
    "half a body": raw(b"200 OK\r\nContent-Length: 100\r\n\r\nabc", "hang"),
    "a body in drops": Raw(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b" " * 90_000, "close", 0.05
    ),
}
