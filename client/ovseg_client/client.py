"""The client: one class for both protocols."""

from __future__ import annotations

import os
from types import TracebackType

import numpy.typing as npt

from ovseg_client.images import Image
from ovseg_client.prediction import Prediction
from ovseg_client.prompts import make_prompts
from ovseg_client.transport import PredictRequest, Transport

DEFAULT_ADDRESS = "http://localhost:8080"
TOKEN_VARIABLE = "OVSEG_TOKEN"


class Client:
    """Asks one service for masks; keeps its connection until closed.

    Args:
        address: `http(s)://host:port` of the gateway, or `grpc(s)://host:port` of Triton (needs
            the extra `grpc`), which spares base64 and JSON.
        timeout: longest wait for an answer, in seconds.
        token: for a gateway that asks for one; by default what the environment variable
            OVSEG_TOKEN holds, if anything. It is sent to this address only.
        ca_file: PEM file with the certificates to trust for `https` and `grpcs`, instead of the
            usual ones.

    Raises:
        ValueError: another kind of address, a token for Triton (which knows none), or a `ca_file`
            without certificates.
        OSError: `ca_file` cannot be read.
        ImportError: a gRPC address without the extra.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout: float = 120.0,
        token: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
    ) -> None:
        self._transport = _connect(address, timeout, token, ca_file)

    def predict(
        self,
        image: Image,
        *,
        boxes: npt.ArrayLike | None = None,
        points: npt.ArrayLike | None = None,
        labels: npt.ArrayLike | None = None,
        multimask: bool = False,
        keep_masks: bool = False,
        refine: Prediction | None = None,
        visualize: bool = False,
        log_id: str | None = None,
        model: str | None = None,
    ) -> Prediction:
        """Find the objects that boxes or points mark in an image.

        Args:
            image: path, http(s) URL, bytes of an image file, or uint8 pixels [H, W, 3] (RGB).
            boxes: [N, 4], x0 y0 x1 y1 in pixels of the (EXIF-oriented) image; one mask each.
            points: [N, 2], x y, one mask each; or [N, P, 2], P points for each mask. With `boxes`,
                each mask has a box and its points.
            labels: for `points`, 1 on the object (the default), 0 not on it, -1 no point.
            multimask: three candidates for each prompt.
            keep_masks: make the prediction one that can be refined.
            refine: a prediction about the same image and as many prompts, made with `keep_masks` at
                the same address; of three candidates the one with the highest score.
            visualize: return a JPEG with the masks drawn, too.
            log_id: names the request in the service's log and in errors.
            model: a served model; by default the server's.

        Raises:
            ValueError, TypeError: arguments that no service could use.
            OSError: the image file cannot be read.
            InvalidRequestError: the service refuses the image or the prompts.
            OvsegError: the service failed, ran out of time, or cannot be reached.
        """
        prompts = make_prompts(boxes, points, labels)
        if refine is not None and len(refine.scores) != len(prompts.labels):
            raise ValueError(
                f"refine must have as many masks as there are prompts, not {len(refine.scores)} "
                f"and {len(prompts.labels)}"
            )
        return self._transport.predict(
            PredictRequest(image, prompts, multimask, visualize, log_id, model, keep_masks, refine)
        )

    def is_ready(self) -> bool:
        """Whether the service would answer now."""
        return self._transport.is_ready()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _connect(
    address: str, timeout_s: float, token: str | None, ca_file: str | os.PathLike[str] | None
) -> Transport:
    scheme, separator, rest = address.partition("://")
    if separator and rest and scheme in ("http", "https"):
        from ovseg_client.rest_transport import RestTransport

        return RestTransport(address, timeout_s, token or os.environ.get(TOKEN_VARIABLE), ca_file)
    if separator and rest and scheme in ("grpc", "grpcs"):
        from ovseg_client.grpc_transport import GrpcTransport

        if token is not None:
            raise ValueError("Triton (grpc://) knows no tokens; use the gateway's http(s) address")
        return GrpcTransport(rest.rstrip("/"), timeout_s, tls=scheme == "grpcs", ca_file=ca_file)
    raise ValueError(
        f"{address!r} is no address of the service: http://host:8080 or grpc://host:8001"
    )
