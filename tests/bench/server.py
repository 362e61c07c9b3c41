"""A fake API whose pages are rendered beforehand, so that the server is never what is measured.

python server.py --records N [--page-size S] [--latency-ms M]: prints its URL, serves until stopped.
GET /orders?page=P answers {"data": [...], "next_page": P + 1 | null}.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from urllib.parse import parse_qs, urlsplit


def order(number: int, rng: random.Random) -> dict[str, object]:
    """One record of 13 fields."""
    day, second = divmod(number, 86_400)
    time = f"{1 + day % 28:02d}T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}Z"
    return {
        "id": number,
        "number": f"SO-{number:09d}",
        "customer_id": rng.randrange(1, 50_000),
        "status": rng.choice(["open", "paid", "shipped", "cancelled"]),
        "currency": rng.choice(["USD", "EUR", "GBP"]),
        "amount": round(rng.uniform(1, 5000), 2),
        "is_gift": rng.random() < 0.1,
        "email": f"user{rng.randrange(50_000)}@example.com",
        "note": None if rng.random() < 0.3 else "".join(rng.choices("abcdefghij klmnop", k=60)),
        "tags": rng.sample(["vip", "new", "eu", "b2b", "promo", "web"], 2),
        "address": {"street": f"{rng.randrange(999)} Main St", "city": "Reno", "zip": "01234"},
        "created_at": f"2025-01-{time}",
        "updated_at": f"2025-02-{time}",
    }


class Api:
    """Answers from memory; after 100 pages they repeat with other ids."""

    def __init__(self, records: int, page_size: int, latency_ms: float) -> None:
        self._records, self._size, self._latency_s = records, page_size, latency_ms / 1000
        self._pages = -(-records // page_size)
        self._kept: dict[int, bytes] = {}
        for page in range(min(self._pages, 100)):
            self._kept[page] = self._render(page)

    def _render(self, page: int) -> bytes:
        rng = random.Random(page)
        numbers = range(page * self._size, min(self._records, (page + 1) * self._size))
        return json.dumps([order(n, rng) for n in numbers], separators=(",", ":")).encode()

    def body(self, target: str) -> bytes:
        """The page that is asked for."""
        page = int(parse_qs(urlsplit(target).query).get("page", ["1"])[0]) - 1
        rows = self._kept.get(page)
        if rows is None:
            # Fresh ids in the text of a kept page: rendering would be what is measured.
            base = self._kept[page % 100]
            shift = (page - page % 100) * self._size
            rows = base.replace(b'{"id":', b'{"id":%d' % (shift // self._size))
        after = b"null" if page + 1 >= self._pages else b"%d" % (page + 2)
        return b'{"data":' + rows + b',"next_page":' + after + b"}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, kept open."""
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                if self._latency_s:
                    await asyncio.sleep(self._latency_s)
                body = self.body(head.split(b" ", 2)[1].decode())
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(body) + body
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--page-size", type=int, default=1_000)
    parser.add_argument("--latency-ms", type=float, default=0)
    options = parser.parse_args()
    api = Api(options.records, options.page_size, options.latency_ms)
    server = await asyncio.start_server(api.serve, "127.0.0.1", 0, limit=1 << 20)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
