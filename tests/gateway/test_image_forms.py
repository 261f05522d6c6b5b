"""The `image` field: what is taken for an image file's bytes, and what is refused."""

from __future__ import annotations

import base64
import binascii

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovseg_gateway.image_source import ImageSourceError, decode_base64, decode_inline

LIMIT = 1 << 20
BYTES = bytes(range(256)) + b"x"  # with + / - _ and padding in its base64 text
STANDARD = base64.b64encode(BYTES).decode()


@pytest.mark.parametrize(
    "text",
    [
        STANDARD,
        STANDARD.rstrip("="),
        base64.urlsafe_b64encode(BYTES).decode(),
        base64.urlsafe_b64encode(BYTES).decode().rstrip("="),
        binascii.b2a_base64(BYTES).decode(),
        base64.encodebytes(BYTES).decode(),
        base64.encodebytes(BYTES).decode().replace("\n", "\r\n"),
        f"  {STANDARD}\n\n",
        f"data:image/png;base64,{STANDARD}",
        f"DATA:Image/PNG;BASE64,{STANDARD}",
        f"data:;base64,{STANDARD}",
        f"data:image/svg+xml;charset=utf-8;base64,{STANDARD.rstrip('=')}",
        f"data:image/jpeg;base64,{base64.encodebytes(BYTES).decode()}",
        "data:image/png;base64," + STANDARD.replace("+", "%2B").replace("=", "%3D"),
    ],
)
def test_common_ways_to_write_base64_are_read(text: str) -> None:
    assert decode_inline(text, LIMIT) == BYTES


@pytest.mark.parametrize(
    "text",
    [
        "!",
        "QUJD!",
        "QUJDé",
        "QUJD\x00",
        "QUJD\u2028QUJD",  # a line separator is no line break of base64
        "Q",
        "QUJDQ",
        "QQ===",
        "=QUI",
        "QQ==QQ==",
        "Q=UI",
        "QU=JD",
        "====",
        "photo.jpg",
        "/etc/resolv.conf",
        "file:///etc/passwd",
        "ftp://example.com/a.png",
        "javascript:alert(1)",
        "C:\\photo.jpg",
        "<svg/>",
        "data:",
        "data:,QUJD",
        "data:image/png,QUJD",
        "data:image/png;base64",
        "data:image/png;base64;x,QUJD",
        "data:text/plain;base64,QUJD",
        "data:application/pdf;base64,QUJD",
        "data:image/png;base64,Q",
        "data:image/png;base64,%zz",
        "data:image/png;base64,%00QUJD",
        "data:data:image/png;base64,QUJD",
        "\ud800",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ImageSourceError):
        decode_inline(text, LIMIT)


@pytest.mark.parametrize("text", ["", " ", "\n", "data:;base64,"])
def test_nothing_decodes_to_nothing(text: str) -> None:
    assert decode_inline(text, LIMIT) == b""


@pytest.mark.parametrize("form", ["{}", "data:image/png;base64,{}", "\n{}"])
def test_the_limit_counts_decoded_bytes(form: str) -> None:
    at_the_limit = form.format(base64.b64encode(bytes(100)).decode())
    beyond = form.format(base64.b64encode(bytes(101)).decode())

    assert len(decode_inline(at_the_limit, 100)) == 100
    with pytest.raises(ImageSourceError, match="larger than 100 bytes"):
        decode_inline(beyond, 100)


@given(content=st.binary(max_size=300), data=st.data())
def test_every_file_survives_every_spelling(content: bytes, data: st.DataObject) -> None:
    encode = data.draw(st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))
    text = encode(content).decode()
    if data.draw(st.booleans()):
        text = text.rstrip("=")
    at = data.draw(st.integers(0, len(text)))
    text = text[:at] + data.draw(st.text(" \t\r\n", max_size=3)) + text[at:]

    assert decode_base64(text, LIMIT) == content


@given(st.text(max_size=200))
def test_any_text_gives_bytes_or_a_refusal(text: str) -> None:
    try:
        decoded = decode_inline(text, LIMIT)
    except ImageSourceError:
        return
    assert isinstance(decoded, bytes)
