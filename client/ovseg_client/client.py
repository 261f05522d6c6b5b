"""The client for programs that wait for each answer."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from ovseg_client.base_client import DEFAULT_ADDRESS, TOKEN_VARIABLE, BaseClient
from ovseg_client.batch import BatchResult, Threads, check_concurrency, results_in_order
from ovseg_client.everything import Everything, EverythingOptions
from ovseg_client.images import Image, LoadedImage
from ovseg_client.prediction import Prediction
from ovseg_client.progress import Progress
from ovseg_client.request import PredictArguments, PredictOptions
from ovseg_client.waiting import Blocking, run_blocking

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["DEFAULT_ADDRESS", "TOKEN_VARIABLE", "Client", "ImageSession"]


class Client(BaseClient):
    """Asks one service for masks; keeps its connections until closed. Threads may share it.

    Args:
        address: `http(s)://host:port` of the gateway, or `grpc(s)://host:port` of Triton (needs
            the extra `grpc`), which spares base64 and JSON.
        timeout: longest time that a call may take, in seconds, with all that it waits for and
            sends again. (Over HTTP it bounds connecting, sending and waiting one by one, too: a
            network that drips can make it a few times as long. `AsyncClient` is exact.)
        token: for a gateway that asks for one; by default what the environment variable
            OVSEG_TOKEN holds, if anything. It is sent to this address only.
        ca_file: PEM file with the certificates to trust for `https` and `grpcs`, instead of the
            usual ones.
        retries: how often a request is sent again after there was no answer at all, or one that
            says when to come again (503 and 429). Other errors are never tried again.

    Raises:
        ValueError: another kind of address, a token for Triton (which knows none), a `ca_file`
            without certificates, or a `timeout` or `retries` out of range.
        OSError: `ca_file` cannot be read.
        ImportError: a gRPC address without the extra.
    """

    _waiting = Blocking()

    def predict(self, image: Image, **options: Unpack[PredictOptions]) -> Prediction:
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
        return run_blocking(self._predict(image, **options))

    def everything(
        self, image: Image, *, progress: Progress = False, **options: Unpack[EverythingOptions]
    ) -> Everything:
        """Find all objects in an image: SAM's automatic mask generation.

        A grid of points is asked, which takes many times as long as one prompt: see `timeout`.

        Args:
            image: as for `predict`.
            progress: True for a bar on stderr (needs the extra `progress`), or a function that is
                called with the numbers of points done and of all points.
            points_per_side: of the grid; by default the service's, 32.
            points_per_batch: decoded at once; at most, and by default, the service's.
            pred_iou_thresh: masks whose predicted IoU is not above it are dropped (0.88).
            stability_score_thresh: masks whose stability is below it are dropped (0.95).
            stability_score_offset: how far the threshold is moved to measure stability (1.0).
            box_nms_thresh: IoU of boxes above which two masks are one thing (0.7).
            crop_n_layers: layers of crops that are looked at too, 2^i x 2^i in layer i (0).
            crop_nms_thresh: `box_nms_thresh` between masks of different crops (0.7).
            crop_overlap_ratio: of crops, as a share of the image's shorter side (512 / 1500).
            crop_n_points_downscale_factor: layer i has `points_per_side / factor^i` points (1).
            min_mask_region_area: smaller holes and separate regions are removed (0).
            visualize, log_id, model: as for `predict`.

        Raises:
            TypeError, OSError, OvsegError: as of `predict`.
            ImportError: a bar without the extra.
        """
        return run_blocking(self._everything(image, progress, **options))

    def image(self, source: Image) -> ImageSession:
        """A session for one image, which is read and encoded here, once.

        Args:
            source: as for `predict`.

        Raises:
            OSError: the file cannot be read.
            TypeError, ValueError: it is no image.
        """
        return ImageSession(self, run_blocking(self._load(source)))

    def predict_many(
        self,
        items: Iterable[PredictArguments],
        *,
        concurrency: int = 4,
        progress: Progress = False,
    ) -> Generator[BatchResult, None, None]:
        """Results of many calls of `predict`, some of which run at the same time.

        They come in the order of the items, each as soon as it and those before it are there. An
        item that fails has its error in its result and leaves the others alone. Items are taken as
        results are, so that there can be any number of them. Nothing more is asked when the caller
        stops early (`break`, Ctrl-C).

        Args:
            items: the arguments of each call, `{"image": "a.jpg", "boxes": [[…]]}`.
            concurrency: most requests at once.
            progress: True for a bar on stderr (needs the extra `progress`), or a function that is
                called with the numbers of results and of items (None for items without a length).

        Raises:
            ValueError: `concurrency` is not positive.
            ImportError: a bar without the extra.
        """
        check_concurrency(concurrency)
        return self._results(items, concurrency, progress)

    def _results(
        self, items: Iterable[PredictArguments], concurrency: int, progress: Progress
    ) -> Generator[BatchResult, None, None]:
        workers = Threads(self._predict_item, concurrency)
        results = results_in_order(items, workers, concurrency, progress)
        try:
            while True:
                try:
                    result = run_blocking(results.__anext__())
                except StopAsyncIteration:
                    return
                yield result
        finally:
            run_blocking(results.aclose())

    def is_ready(self) -> bool:
        """Whether the service would answer now."""
        return run_blocking(self._transport.is_ready())

    def close(self) -> None:
        """Close the connections."""
        run_blocking(self._transport.close())

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class ImageSession:
    """Any number of requests about one image; made by `Client.image`.

    Over REST the first request sends the image, later ones only its name, until the service has
    forgotten it: then it is sent again. Over gRPC the image file stays in this process's memory and
    goes with each request. A URL is fetched once, by the service or (gRPC) by the client.
    """

    def __init__(self, client: Client, image: LoadedImage) -> None:
        self._client = client
        self._image = image

    def predict(self, **options: Unpack[PredictOptions]) -> Prediction:
        """`Client.predict` about this image, with the same keyword arguments and errors.

        To refine what was found: `first = session.predict(points=…, keep_masks=True)`, then
        `session.predict(points=…, labels=…, refine=first)`.
        """
        return run_blocking(self._client._predict(self._image, **options))

    def everything(
        self, *, progress: Progress = False, **options: Unpack[EverythingOptions]
    ) -> Everything:
        """`Client.everything` about this image."""
        return run_blocking(self._client._everything(self._image, progress, **options))
