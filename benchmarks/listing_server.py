"""`python -m benchmarks.listing_server KEYS`: an S3 store that answers ListObjectsV2 alone, of so many made-up keys.

A million real objects would take half an hour to put. Its first line on stdout is its port.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from benchmarks.figures import say

PAGE = 1_000
PREFIX = "data/"
SIZE = 50_000


def key(number: int) -> str:
    """Keys in the order of their numbers, a thousand in each folder."""
    return f"{PREFIX}{number // 1_000:06}/part-{number:010}.json"


def number_behind(start_after: str) -> int:
    """The first number whose key sorts behind."""
    digits = start_after.rpartition("part-")[2].removesuffix(".json")
    return int(digits) + 1 if digits.isdigit() else 0


def page(start: int, keys: int) -> bytes:
    end = min(start + PAGE, keys)
    more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < keys else ""
    contents = "".join(
        f"<Contents><Key>{key(n)}</Key><LastModified>2026-11-01T00:00:00.000Z</LastModified>"
        f"<ETag>&quot;{n:032x}&quot;</ETag><Size>{SIZE}</Size><StorageClass>STANDARD</StorageClass></Contents>"
        for n in range(start, end)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Name>bench</Name><Prefix>{PREFIX}</Prefix><MaxKeys>{PAGE}</MaxKeys><KeyCount>{end - start}</KeyCount>"
        f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{more}{contents}</ListBucketResult>"
    ).encode()


def main(keys: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            token = asked.get("continuation-token", [""])[0]
            body = page(int(token) if token else number_behind(asked.get("start-after", [""])[0]), keys)
            self.send_response(200)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            if not str(args[1]).startswith("2"):
                say(format % args)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]))
