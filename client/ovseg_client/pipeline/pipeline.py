"""`create_pipeline` and the pipeline it makes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_client.pipeline.config import load_config
from ovseg_client.pipeline.inputs import InputImage, Inputs, read_inputs
from ovseg_client.pipeline.result import PromptType, Row, SegmentationResult
from ovseg_client.pipeline.server import Access, Server, find_server, logger
from ovseg_client.prompts import make_prompts

_TIMEOUT_S = 600.0
_PADDLEX_OPTIONS = frozenset(("engine", "engine_config", "pp_option", "hpi_config"))


def create_pipeline(
    pipeline: str | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    device: str | None = None,
    use_hpip: bool | None = None,
    url: str | None = None,
    token: str | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    timeout: float = _TIMEOUT_S,
    **paddlex_options: Any,
) -> OpenVocabularySegmentationPipeline:
    """A pipeline with PaddleX's methods, which asks a server.

    With no address, a server that is ready at the settings' address is asked (OVSEG_HOST,
    OVSEG_PORT), else one is started that only this process uses; later pipelines use it again. It
    stops when the last pipeline is closed, or with this process.

    Args:
        pipeline: "open_vocabulary_segmentation", or a YAML file as `ovseg --get_pipeline_config`
            and PaddleX write it; its `model_dir`s are models for a server that is started.
        config: the content of such a file.
        device: accepted; where to compute is the server's setting.
        use_hpip: accepted; the server always uses the fastest engine that gives the same masks.
        url: the server, as for `Client`; by default what OVSEG_URL holds, if anything.
        token, ca_file: as for `Client`.
        timeout: longest wait for one image's answer, or for a URL, in seconds.
        paddlex_options: PaddleX's engine, engine_config, pp_option, hpi_config: accepted, ignored.

    Raises:
        ValueError: another pipeline, or a configuration, setting or address that is not valid.
        TypeError: an option that PaddleX does not have either.
        OSError: the YAML file cannot be read.
        OvsegError: there is no server, and none can be started.
    """
    if unknown := sorted(paddlex_options.keys() - _PADDLEX_OPTIONS):
        raise TypeError(f"create_pipeline() knows no option {', '.join(unknown)}")
    ignored = sorted(name for name, value in paddlex_options.items() if value is not None)
    if device is not None and device != "cpu":
        ignored.append(f"device={device!r}")
    if ignored:
        logger.warning("%s: ignored, the server's settings decide", ", ".join(ignored))

    access = Access(timeout, token, ca_file)
    server = find_server(url, load_config(pipeline, config).model_dirs, access)
    return OpenVocabularySegmentationPipeline(server, timeout)


class OpenVocabularySegmentationPipeline:
    """Finds the objects that boxes or points mark; made by `create_pipeline`.

    It can be closed, or used in a `with` block, to stop an embedded server before the process ends.
    """

    def __init__(self, server: Server, timeout_s: float) -> None:
        self._server = server
        self._timeout_s = timeout_s

    def predict(
        self,
        input: Inputs,
        prompt: Sequence[Sequence[float]] | npt.NDArray[Any],
        prompt_type: str = "box",
        *,
        visualize: bool = True,
    ) -> Iterator[SegmentationResult]:
        """Results, one for each image, as they come.

        Args:
            input: a path, an http(s) URL, a folder (searched to its bottom), a PDF or TIFF file
                (one result for each page), uint8 pixels [H, W, 3] in OpenCV's order (BGR) or
                [H, W], or a list of those.
            prompt: boxes [N, 4], x0 y0 x1 y1, or points [N, 2], x y, in pixels of the
                (EXIF-oriented) image; each gives one mask. The same for all images.
            prompt_type: "box" or "point".
            visualize: draw the picture of `.img` and `.save_to_img`, too.

        Raises:
            ValueError: another prompt type, prompts of another shape, or an unusable input.
            TypeError: an input of another type.
            OSError: an input cannot be read.
            OvsegError: the server refuses the image, fails, or cannot be reached. From Python 3.11
                on a note names the input.
        """
        if prompt_type not in ("box", "point"):
            raise ValueError(f'prompt_type must be "box" or "point", not {prompt_type!r}')
        kind: PromptType = "box" if prompt_type == "box" else "point"
        rows = _rows(prompt, kind)
        return self._results(read_inputs(input, self._timeout_s), kind, rows, visualize)

    __call__ = predict

    def _results(
        self, images: Iterator[InputImage], kind: PromptType, rows: list[Row], visualize: bool
    ) -> Iterator[SegmentationResult]:
        for image in images:
            try:
                prediction = self._server.client().predict(
                    image.file,
                    boxes=rows if kind == "box" else None,
                    points=rows if kind == "point" else None,
                    visualize=visualize,
                )
            except Exception as error:
                if image.path is not None and hasattr(error, "add_note"):
                    error.add_note(f"input: {image.path}")
                raise
            yield SegmentationResult(image, kind, rows, prediction)

    def close(self) -> None:
        """Close the connection, and stop an embedded server that no other pipeline uses."""
        self._server.close()

    def __enter__(self) -> OpenVocabularySegmentationPipeline:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _rows(prompt: Any, kind: PromptType) -> list[Row]:
    """The checked prompts as the caller wrote them: whole numbers stay whole.

    Raises:
        ValueError: they have another shape, or are no finite numbers.
    """
    given = prompt.tolist() if isinstance(prompt, np.ndarray) else list(prompt)
    make_prompts(**{"boxes" if kind == "box" else "points": given})
    rows = given if np.ndim(given) > 1 or not given else [given]
    return [
        [number.item() if isinstance(number, np.generic) else number for number in row]
        for row in rows
    ]
