"""Requests that must be refused: by the right status, naming the right field."""

from __future__ import annotations

import base64
import gzip
import random
import struct
import zlib
from collections.abc import Collection
from typing import Any

import numpy as np
import orjson
from ovseg_client.images import encode_png

from loadtest.soak.exchanges import JSON_HEADERS, Addresses, Exchange, grpc, post
from loadtest.soak.hostile_server import TRAPS
from loadtest.soak.trials import Trial
from ovseg.bench.workload import make_photo

MAX_BODY_BYTES, MAX_IMAGE_BYTES = 4 * 1024 * 1024, 3 * 1024 * 1024
"""What the soaked service takes; its defaults would make large bodies the main load."""
_BOX = [[100, 100, 400, 400]]


class BadTraffic:
    """Callers' mistakes, each in turn at random."""

    def __init__(self, hostile_url: str) -> None:
        """`hostile_url` is the address of a `hostile_server`."""
        self.trials = [
            *_json_mistakes(),
            *_image_mistakes(),
            *_url_mistakes(hostile_url),
            *_body_mistakes(),
            *_grpc_mistakes(),
        ]

    def next(self, numbers: random.Random) -> Trial:
        """Another bad request."""
        return numbers.choice(self.trials)


def _json_mistakes() -> list[Trial]:
    good = _body()
    box = b"[[100,100,400,400]]"
    return [
        _bad("JSON that breaks off", good[:-9], "body"),
        _bad("no body", b"", "body"),
        _bad("a list, not an object", b"[1]", "body"),
        _bad("NaN", good.replace(box, b"[[100,NaN,400,400]]"), "body.prompt[0][1]"),
        _bad("1e400", good.replace(box, b"[[100,100,1e400,400]]"), "body.prompt[0][2]"),
        _bad("coordinate far outside", _body(prompt=[[0, 0, 1e9, 1]]), "body.prompt[0][2]"),
        _bad("row of three numbers", _body(prompt=[[1, 2, 3]]), "body.prompt[0]"),
        _bad("text for prompts", _body(prompt="box"), "body.prompt"),
        _bad("too many prompts", _body(prompt=_BOX * 2000), "body.prompt"),
        _bad("unknown promptType", _body(promptType="circle"), "body.promptType"),
        _bad("number for an image", _body(image=7), "body.image"),
        _bad("unknown model", _body(model="sam_unheard_of"), "body.model"),
        _bad("no UTF-8", b'{"image": "\xff\xfe"', "", statuses=(400, 422)),
    ]


def _image_mistakes() -> list[Trial]:
    photo = make_photo()
    images = {
        "bad base64": "@@@@",
        "no image": _text(b"this is no image file" * 9),
        "truncated image": _text(photo[: len(photo) // 2]),
        "damaged PNG": _text(_damaged_png()),
        "900 megapixels in 60 bytes": _text(_huge_png()),
        "empty image": "",
        "data: URI of text": "data:text/plain;base64,aGVsbG8=",
    }
    return [_bad(kind, _body(image=image), "body.image") for kind, image in images.items()]


def _url_mistakes(hostile_url: str) -> list[Trial]:
    urls = {
        "loopback URL": "http://127.0.0.1:9/photo.jpg",
        "private URL": "http://10.1.2.3/photo.jpg",
        "cloud metadata URL": "http://169.254.169.254/latest/meta-data/",
        "IPv4 in IPv6 URL": "http://[::ffff:127.0.0.1]/",
        "file URL": "file:///etc/passwd",
        "dead URL": f"{hostile_url}/missing",
        **{f"URL that {trap.replace('_', ' ')}": f"{hostile_url}/{trap}" for trap in TRAPS},
    }
    return [_bad(kind, _body(image=url), "body.image") for kind, url in urls.items()]


def _body_mistakes() -> list[Trial]:
    too_much = b" " * (MAX_BODY_BYTES + 1)
    bomb = gzip.compress(bytes(64 * 1024 * 1024))
    zipped = {**JSON_HEADERS, "Content-Encoding": "gzip"}

    def in_chunks(addresses: Addresses) -> Exchange:
        return post(addresses, (bytes(64 * 1024) for _ in range(MAX_BODY_BYTES // 65536 + 8)))

    return [
        _bad("too large a body", too_much, "", statuses=(413,)),
        Trial("endless body in chunks", "bad", in_chunks, (413,)),
        _bad("gzip bomb", bomb, "", statuses=(400, 413, 415, 422), headers=zipped),
        _bad("body that is no JSON", b"image=x", "body", headers={"Content-Type": "text/plain"}),
        Trial("GET", "bad", lambda to: post(to, b"", {}, method="GET"), (405,)),
        Trial("unknown path", "bad", lambda to: post(to, b"{}", path="/admin"), (404,)),
    ]


def _grpc_mistakes() -> list[Trial]:
    def no_image(addresses: Addresses) -> Exchange:
        return grpc(addresses, b"no image", "box", ((1, 2, 30, 40),), False)

    def outside(addresses: Addresses) -> Exchange:
        return grpc(addresses, make_photo(), "point", ((1e30, 2.0),), False)

    return [
        Trial("gRPC, no image", "bad", no_image, (422,), "image", protocol="gRPC"),
        Trial("gRPC, far outside", "bad", outside, (422,), "point_coords", protocol="gRPC"),
    ]


def _bad(
    kind: str,
    body: bytes,
    loc: str,
    *,
    statuses: Collection[int] = (422,),
    headers: dict[str, str] = JSON_HEADERS,
) -> Trial:
    return Trial(kind, "bad", lambda to: post(to, body, headers), statuses, loc)


def _body(**changes: Any) -> bytes:
    good = {"image": _text(make_photo()), "promptType": "box", "prompt": _BOX, "visualize": False}
    return orjson.dumps({**good, **changes})


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _damaged_png() -> bytes:
    noise = np.random.default_rng(3).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = bytearray(encode_png(noise))
    content[len(content) // 2] ^= 0xFF
    return bytes(content)


def _huge_png() -> bytes:
    """A PNG whose header says 30000x30000, and little more."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b""))
