"""The `image` field: base64 text, a `data:` URI or an http(s) URL -> the image file's bytes."""

from __future__ import annotations

import base64
from urllib.parse import unquote

from ovseg_gateway.context import RequestContext
from ovseg_gateway.errors import InvalidRequestError
from ovseg_gateway.heavy_work import run_heavy
from ovseg_gateway.url_fetcher import FetchError, ImageFetcher

_URL_SCHEMES = ("http://", "https://")
_SCHEME_LIMIT = 8
_WHITESPACE = dict.fromkeys(map(ord, " \t\r\n"))
_URL_SAFE = str.maketrans("-_", "+/")


class ImageSourceError(ValueError):
    """The text holds no image file; the message is for the caller."""


class ImageSource:
    """Turns the `image` field into bytes, whatever form it has."""

    def __init__(self, fetcher: ImageFetcher, max_bytes: int) -> None:
        self._fetcher = fetcher
        self._max_bytes = max_bytes

    async def load(self, image: str, context: RequestContext) -> bytes:
        """Bytes of an encoded image file; whether they are a picture is for Triton to say.

        Raises:
            InvalidRequestError: the text is none of the three forms, the URL gives nothing, or
                the file is empty or larger than the limit.
        """
        try:
            if image[:_SCHEME_LIMIT].lower().startswith(_URL_SCHEMES):
                with context.measure("fetch"):
                    content = await self._fetcher.fetch(image)
            else:
                with context.measure("base64"):
                    content = await run_heavy(len(image), decode_inline, image, self._max_bytes)
        except (ImageSourceError, FetchError) as error:
            raise InvalidRequestError.single("body.image", str(error)) from None
        if not content:
            raise InvalidRequestError.single("body.image", "the image is empty")
        return content


def decode_inline(text: str, max_bytes: int) -> bytes:
    """Decode base64 text or a base64 `data:` URI.

    Raises:
        ImageSourceError: neither of them, or longer than `max_bytes` when decoded.
    """
    if text[:_SCHEME_LIMIT].lower().startswith("data:"):
        text = _data_of_uri(text)
    content = decode_base64(text, max_bytes)
    if len(content) > max_bytes:
        raise _too_large(max_bytes)
    return content


def decode_base64(text: str, max_bytes: int) -> bytes:
    """Decode base64: standard or URL-safe alphabet, padding and line breaks optional.

    Raises:
        ImageSourceError: a character of no alphabet, a length that no bytes have, or text much
            longer than `max_bytes` need.
    """
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        pass  # the common form is settled above; now the tolerated ones, at their own cost
    compact = text.translate(_WHITESPACE).translate(_URL_SAFE)
    if len(compact) > 4 * (max_bytes // 3 + 1):
        raise _too_large(max_bytes)
    unpadded = compact.rstrip("=")
    if len(compact) - len(unpadded) > 2:
        raise ImageSourceError("the image is not valid base64: too much padding")
    try:
        return base64.b64decode(unpadded + "=" * (-len(unpadded) % 4), validate=True)
    except ValueError:
        raise ImageSourceError(
            "the image must be base64 text, a base64 data: URI or an http(s) URL; "
            "this text is none of them"
        ) from None


def _data_of_uri(uri: str) -> str:
    """The base64 text of `data:[image/…][;parameters];base64,…`."""
    header, comma, data = uri[len("data:") :].partition(",")
    media_type, *parameters = (part.strip().lower() for part in header.split(";"))
    if not comma or not parameters or parameters[-1] != "base64":
        raise ImageSourceError("a data: URI must hold base64 data (data:image/png;base64,…)")
    if media_type and not media_type.startswith("image/"):
        raise ImageSourceError(f"the data: URI holds {media_type[:64]!r}, which is no image type")
    return unquote(data) if "%" in data else data


def _too_large(max_bytes: int) -> ImageSourceError:
    return ImageSourceError(f"the image file is larger than {max_bytes} bytes")
