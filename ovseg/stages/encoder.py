"""The image encoder stage: padded UINT8 pixels -> image embedding."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ovseg.engines import Engine
from ovseg.engines.choosing import EngineSettings, open_engine
from ovseg.manifest import ModelManifest


class ImageEncoder(Protocol):
    """What the `sam_encoder` stage runs."""

    def encode(
        self, pixels: NDArray[np.uint8], input_size: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """Encode a batch of images.

        Args:
            pixels: uint8 [B, S, S, 3] RGB, padded with zeros at the right and bottom.
            input_size: int32 [B, 2], height and width of each image's valid part.

        Returns:
            float32, the embedding: [B, h, w, C] of split models ([B, 64, 64, 256] for SAM), whose
            decoder works on cells; [B, C, h, w] of others.
        """
        ...


class EngineImageEncoder:
    """A split model's encoder program; it normalises inside its graph."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def encode(
        self, pixels: NDArray[np.uint8], input_size: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """See `ImageEncoder.encode`."""
        (embedding,) = self._engine.run(pixels=pixels, input_size=input_size)
        return embedding.astype(np.float32, copy=False)


class NormalizingImageEncoder:
    """A fused model's "encoder": its embedding is the normalised image, [B, 3, S, S].

    Such a program takes image and prompts at once, so all that can be done ahead, and cached, is
    what PaddleX's SAMImageProcessor does: (pixel - mean) / std in float32, padding 0.
    """

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        self._mean = np.array(mean, np.float32)
        self._std = np.array(std, np.float32)

    def encode(
        self, pixels: NDArray[np.uint8], input_size: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """See `ImageEncoder.encode`."""
        normalised = (pixels.astype(np.float32) - self._mean) / self._std
        for image, (height, width) in zip(normalised, input_size, strict=True):
            image[height:] = 0
            image[:, width:] = 0
        return np.ascontiguousarray(normalised.transpose(0, 3, 1, 2))


class CutImageEncoder:
    """A cut model's encoder program: it takes one normalised image at a time."""

    def __init__(self, normalise: NormalizingImageEncoder, engine: Engine) -> None:
        self._normalise = normalise
        self._engine = engine

    def encode(
        self, pixels: NDArray[np.uint8], input_size: NDArray[np.int32]
    ) -> NDArray[np.float32]:
        """See `ImageEncoder.encode`."""
        images = self._normalise.encode(pixels, input_size)
        embeddings = [self._engine.run(images=image[None])[0] for image in images]
        return np.concatenate(embeddings).astype(np.float32, copy=False)


def load_image_encoder(settings: EngineSettings) -> ImageEncoder:
    """The encoder of the model that the settings name.

    Raises:
        ModelNotInstalledError, EngineError: it cannot be loaded; the message says what to do.
    """
    manifest = ModelManifest.load(settings.model_folder)
    normalise = NormalizingImageEncoder(manifest.pixel_mean, manifest.pixel_std)
    if manifest.kind == "fused":
        return normalise
    engine = open_engine(settings.model_folder / "encoder", settings, manifest)
    return (
        CutImageEncoder(normalise, engine) if manifest.kind == "cut" else EngineImageEncoder(engine)
    )
