"""Requests to the gateway over HTTP."""

from __future__ import annotations

import hashlib
import os
import ssl
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import httpx

from ovseg_client.errors import (
    ConnectionFailedError,
    NotFoundError,
    OvsegError,
    RequestTimeoutError,
)
from ovseg_client.everything import Everything, EverythingRequest, Report
from ovseg_client.images import LoadedImage
from ovseg_client.prediction import Prediction
from ovseg_client.request import PredictRequest
from ovseg_client.rest_lines import LINES, AnswerLines
from ovseg_client.rest_messages import (
    Answer,
    decode_answer,
    encode_request,
    everything_of,
    prediction_of,
)
from ovseg_client.retrying import Deadline, with_retries
from ovseg_client.waiting import Waiting

_PATH = "/open-vocabulary-segmentation"
_JSON_HEADERS = {"Content-Type": "application/json"}
_LINES_HEADERS = {**_JSON_HEADERS, "Accept": f"{LINES}, application/json"}
_REMEMBERED_IMAGES = 1000
_THIS_MACHINE = ("localhost", "127.0.0.1", "0.0.0.0", "[::1]")


class Http(Protocol):
    """`httpx.Client` or `httpx.AsyncClient`, as coroutines."""

    @property
    def client(self) -> httpx.Client | httpx.AsyncClient:
        """Makes the requests."""
        ...

    async def send(self, request: httpx.Request) -> httpx.Response:
        """The answer, without its body yet."""
        ...

    async def read(self, response: httpx.Response, deadline: Deadline) -> bytes:
        """The body; the connection is free for the next request then."""
        ...

    async def read_lines(
        self, response: httpx.Response, deadline: Deadline, take: Callable[[str], None]
    ) -> None:
        """The same line by line, as they come."""
        ...

    async def close(self) -> None:
        """Close the connections."""


class RestTransport:
    """Talks to the gateway over `http`."""

    def __init__(self, http: Http, waiting: Waiting, timeout_s: float, retries: int) -> None:
        self._http = http
        self._timeout_s = timeout_s
        self._waiting = waiting
        self._retries = retries
        self._held: OrderedDict[str, None] = OrderedDict()
        """Ids of images that the service has said it keeps, the latest last."""

    async def predict(
        self, image: LoadedImage, request: PredictRequest, deadline: Deadline
    ) -> Prediction:
        """Send one request; the image only if the service does not keep it already."""
        answer, content = await self._about(image, request, deadline, None)
        return prediction_of(content, _timing(answer), request.multimask)

    async def everything(
        self, image: LoadedImage, request: EverythingRequest, report: Report, deadline: Deadline
    ) -> Everything:
        """The same with an answer that comes line by line."""
        answer, content = await self._about(image, request, deadline, report)
        return everything_of(content, _timing(answer))

    async def _about(
        self,
        image: LoadedImage,
        request: PredictRequest | EverythingRequest,
        deadline: Deadline,
        report: Report | None,
    ) -> tuple[Answer, dict[str, Any]]:
        """A successful answer, and the JSON in it."""
        if image.file is not None and image.image_id is None:
            image.image_id = await self._waiting.work(_sha256, image.file)
        if (image_id := image.image_id) is not None and image_id in self._held:
            try:
                return await self._ask(image, request, deadline, report, by_id=True)
            except NotFoundError:
                self._held.pop(image_id, None)  # The service has forgotten it.
        return await self._ask(image, request, deadline, report)

    async def _ask(
        self,
        image: LoadedImage,
        request: PredictRequest | EverythingRequest,
        deadline: Deadline,
        report: Report | None,
        by_id: bool = False,
    ) -> tuple[Answer, dict[str, Any]]:
        body = await self._waiting.work(encode_request, request, image, by_id=by_id)

        async def attempt() -> tuple[Answer, dict[str, Any], str | None]:
            answer = await self._exchange("POST", _PATH, body, deadline, report)
            return answer, *decode_answer(answer)

        answer, content, image_id = await with_retries(
            attempt, self._retries, deadline, self._waiting.sleep
        )
        if image_id is not None:
            image.image_id = image_id
            self._held.pop(image_id, None)
            self._held[image_id] = None
            if len(self._held) > _REMEMBERED_IMAGES:
                self._held.popitem(last=False)
        return answer, content

    async def is_ready(self) -> bool:
        """Whether a request would be answered now."""
        try:
            answer = await self._exchange(
                "GET", "/health/ready", None, Deadline.after(self._timeout_s)
            )
        except OvsegError:
            return False
        return answer.status == 200

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        deadline: Deadline,
        report: Report | None = None,
    ) -> Answer:
        left_s = deadline.check()
        headers = _JSON_HEADERS if report is None else _LINES_HEADERS
        request = self._http.client.build_request(
            method, path, content=body, headers=headers, timeout=left_s
        )
        return await self._waiting.within(left_s, self._answer(request, deadline, report))

    async def _answer(
        self, request: httpx.Request, deadline: Deadline, report: Report | None
    ) -> Answer:
        is_answered = False
        lines = AnswerLines(report)
        try:
            response = await self._http.send(request)
            is_answered = True
            if response.headers.get("content-type") == LINES:
                await self._http.read_lines(response, deadline, lines.take)
                return lines.answer(response.headers)
            content = await self._http.read(response, deadline)
        except httpx.TimeoutException as error:
            raise RequestTimeoutError(504, f"no answer in time ({type(error).__name__})") from error
        except httpx.RequestError as error:
            # An answer that breaks off has cost the service its work: whether to ask for that
            # again is the caller's decision.
            raise ConnectionFailedError(
                f"{self._http.client.base_url}: {error}",
                retry_after_s=None if is_answered else 0.0,
            ) from error
        return Answer(response.status_code, response.headers, content)


class BlockingHttp:
    """HTTP for `Client`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.client = httpx.Client(**options)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return self.client.send(request, stream=True)

    async def read(self, response: httpx.Response, deadline: Deadline) -> bytes:
        chunks = []
        try:
            # The socket's timeout starts again with each chunk.
            for chunk in response.iter_bytes():
                deadline.check()
                chunks.append(chunk)
        finally:
            response.close()
        return b"".join(chunks)

    async def read_lines(
        self, response: httpx.Response, deadline: Deadline, take: Callable[[str], None]
    ) -> None:
        try:
            for line in response.iter_lines():
                deadline.check()
                take(line)
        finally:
            response.close()

    async def close(self) -> None:
        self.client.close()


class AsyncioHttp:
    """HTTP for `AsyncClient`."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.client = httpx.AsyncClient(**options)

    async def send(self, request: httpx.Request) -> httpx.Response:
        return await self.client.send(request, stream=True)

    async def read(self, response: httpx.Response, deadline: Deadline) -> bytes:
        try:
            return await response.aread()
        finally:
            await response.aclose()

    async def read_lines(
        self, response: httpx.Response, deadline: Deadline, take: Callable[[str], None]
    ) -> None:
        try:
            async for line in response.aiter_lines():
                take(line)
        finally:
            await response.aclose()

    async def close(self) -> None:
        await self.client.aclose()


def http_options(
    base_url: str, token: str | None, ca_file: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """What `httpx.Client` and `httpx.AsyncClient` are made with.

    Raises:
        ValueError: another form of URL, or a `ca_file` without certificates.
        OSError: `ca_file` cannot be read.
    """
    try:
        httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{base_url!r} is no address of the service: {error}") from None
    return {
        "base_url": base_url,
        "headers": {"Authorization": f"Bearer {token}"} if token else {},
        "verify": True if ca_file is None else _trusting(ca_file),
        # A proxy of the environment cannot reach a server on this machine.
        "mounts": {f"all://{host}": None for host in _THIS_MACHINE},
    }


def _trusting(ca_file: str | os.PathLike[str]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:  # An OSError too, without the file's name.
        raise ValueError(f"{ca_file}: no certificates in it ({error.reason})") from error


def _timing(answer: Answer) -> str:
    return answer.headers.get("server-timing", "")


def _sha256(file: bytes) -> str:
    return hashlib.sha256(file).hexdigest()
