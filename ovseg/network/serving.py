"""The programs that are exported: pixels -> embedding, embedding + prompts -> masks.

A third one makes, of an embedding and a mask input, the embedding that the second one takes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import paddle
from paddle import nn
from paddle.static import InputSpec

from ovseg.manifest import PIXEL_MEAN, PIXEL_STD, TERMS_DECODER_TOKENS
from ovseg.network.image_terms import ImageTerms, TermReader, image_terms, position_terms
from ovseg.network.low_rank_cells import LowRankCells
from ovseg.network.mask_decoder import ComputedCells
from ovseg.network.segment_anything import SegmentAnything

PROGRAM_NAME = "inference"
"""Programs are saved as `inference.json` (PIR graph) and `inference.pdiparams` (weights)."""


class EncoderProgram(nn.Layer):
    """Pixels -> image embedding, with SAM's normalisation and padding inside."""

    def __init__(self, network: SegmentAnything) -> None:
        super().__init__()
        self.input_size = network.variant.input_size
        self.image_encoder = network.image_encoder
        self.register_buffer("pixel_mean", paddle.to_tensor(PIXEL_MEAN, dtype="float32"))
        self.register_buffer("pixel_std", paddle.to_tensor(PIXEL_STD, dtype="float32"))
        positions = paddle.arange(self.input_size, dtype="int32").unsqueeze(0)
        self.register_buffer("positions", positions)

    def forward(self, pixels: paddle.Tensor, input_size: paddle.Tensor) -> paddle.Tensor:
        """Encode a batch of images.

        Args:
            pixels: UINT8 [B, S, S, 3], RGB, the image resized so that its longest side is S and
                padded right and bottom (with anything).
            input_size: INT32 [B, 2], (height, width) of the image within the square, in pixels.

        Returns:
            FP32 [B, grid, grid, channels].
        """
        normalised = (pixels.astype("float32") - self.pixel_mean) / self.pixel_std
        # SAM pads after normalising: padding is exactly zero there, which no pixel value gives.
        is_row = (self.positions < input_size[:, 0:1]).astype("float32").unsqueeze(-1)
        is_column = (self.positions < input_size[:, 1:2]).astype("float32").unsqueeze(1)
        normalised = normalised * (is_row * is_column).unsqueeze(-1)
        return self.image_encoder(normalised.transpose([0, 3, 1, 2])).transpose([0, 2, 3, 1])

    def input_specs(self) -> list[InputSpec]:
        """Names, shapes and types of the exported program's inputs."""
        size = self.input_size
        return [
            InputSpec([None, size, size, 3], "uint8", "pixels"),
            InputSpec([None, 2], "int32", "input_size"),
        ]


class PromptDecoderProgram(nn.Layer):
    """Image embedding and prompts -> low-resolution masks and predicted IoU."""

    def __init__(self, network: SegmentAnything) -> None:
        super().__init__()
        self.variant = network.variant
        self.prompt_encoder = network.prompt_encoder
        self.mask_decoder = network.mask_decoder
        # Depends on the weights alone: computed once, not with every request.
        self.register_buffer("grid_positions", network.prompt_encoder.grid_positions().detach())

    def forward(
        self,
        embedding: paddle.Tensor,
        point_coords: paddle.Tensor,
        point_labels: paddle.Tensor,
        mask_index: paddle.Tensor,
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Decode N prompts for one image.

        The tokens are taken as they are given. To get the results of Meta's `SamPredictor`, the
        caller appends one padding point (label -1) to prompts that have no box, and puts a box's
        corners after the points.

        Args:
            embedding: FP32 [1, grid, grid, channels].
            point_coords: FP32 [N, P, 2], (x, y) in pixels of the model's input frame: original
                coordinates times SAM's resize, without the half-pixel shift.
            point_labels: INT32 [N, P]: 1 foreground, 0 background, 2 / 3 top-left / bottom-right
                corner of a box, -1 padding.
            mask_index: INT32 [M], the masks wanted: 0 is the single mask, 1 to 3 the multimask
                candidates.

        Returns:
            low_res_masks FP32 [N, M, 4 * grid, 4 * grid], logits; iou_predictions FP32 [N, M].
        """
        tokens = self.prompt_encoder.encode_points(point_coords, point_labels)
        cells = (embedding + self.prompt_encoder.no_mask()).flatten(1, 2)
        masks, iou_predictions = self.mask_decoder(
            ComputedCells(cells, self.grid_positions), tokens, mask_index
        )
        return masks, iou_predictions

    def input_specs(self) -> list[InputSpec]:
        """Names, shapes and types of the exported program's inputs."""
        return [
            InputSpec([1, *self.variant.embedding_shape], "float32", "embedding"),
            InputSpec([None, None, 2], "float32", "point_coords"),
            InputSpec([None, None], "int32", "point_labels"),
            InputSpec([None], "int32", "mask_index"),
        ]


class ImageTermsProgram(nn.Layer):
    """Image embedding -> what the decoder of many prompts computes of it once."""

    def __init__(self, network: SegmentAnything) -> None:
        super().__init__()
        self.variant = network.variant
        self.no_mask_embed = network.prompt_encoder.no_mask_embed
        self.mask_decoder = network.mask_decoder
        self.register_buffer("grid_positions", network.prompt_encoder.grid_positions().detach())

    def forward(self, embedding: paddle.Tensor) -> ImageTerms:
        """FP32 [1, grid, grid, channels] -> see `ImageTerms`."""
        cells = (embedding + self.no_mask_embed.weight[0]).flatten(1, 2)
        return image_terms(self.mask_decoder, cells, self.grid_positions)

    def input_specs(self) -> list[InputSpec]:
        """Names, shapes and types of the exported program's inputs."""
        return [InputSpec([1, *self.variant.embedding_shape], "float32", "embedding")]


class TermsDecoderProgram(nn.Layer):
    """The terms of an image and prompts -> what `PromptDecoderProgram` gives.

    It is exported for prompts of `TERMS_DECODER_TOKENS`: with shapes that it knows, OpenVINO is
    faster and takes less memory.
    """

    def __init__(self, network: SegmentAnything) -> None:
        super().__init__()
        self.prompt_encoder = network.prompt_encoder
        self.mask_decoder = network.mask_decoder
        positions = network.prompt_encoder.grid_positions()
        terms = position_terms(network.mask_decoder.transformer, positions)
        self.register_buffer("position_terms", terms.detach())
        terms_of_nothing = ImageTermsProgram(network)(
            paddle.zeros([1, *network.variant.embedding_shape])
        )
        self._term_specs = [
            InputSpec(list(term.shape), "float32", name)
            for name, term in terms_of_nothing._asdict().items()
        ]

    def forward(
        self,
        placed: paddle.Tensor,
        columns: paddle.Tensor,
        values: paddle.Tensor,
        pixels: paddle.Tensor,
        squares: paddle.Tensor,
        point_coords: paddle.Tensor,
        point_labels: paddle.Tensor,
        mask_index: paddle.Tensor,
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """See `PromptDecoderProgram.forward`, and `ImageTerms` for the first five."""
        tokens = self.prompt_encoder.encode_points(point_coords, point_labels)
        terms = ImageTerms(placed, columns, values, pixels, squares)
        attention = self.mask_decoder.transformer.final_attn_token_to_image
        reader = TermReader(terms, self.position_terms, attention.num_heads, attention.head_dim)
        masks, iou_predictions = self.mask_decoder(LowRankCells(reader), tokens, mask_index)
        return masks, iou_predictions

    def input_specs(self) -> list[InputSpec]:
        """Names, shapes and types of the exported program's inputs."""
        return [
            *self._term_specs,
            InputSpec([None, TERMS_DECODER_TOKENS, 2], "float32", "point_coords"),
            InputSpec([None, TERMS_DECODER_TOKENS], "int32", "point_labels"),
            InputSpec([None], "int32", "mask_index"),
        ]


class MaskEncoderProgram(nn.Layer):
    """Image embedding and mask inputs -> an embedding for each prompt that has a mask input.

    With it the prompt decoder, which knows no mask inputs, decodes that prompt: most requests have
    none, and then the decoder's work on the image is shared by all prompts.
    """

    def __init__(self, network: SegmentAnything) -> None:
        super().__init__()
        self.variant = network.variant
        self.prompt_encoder = network.prompt_encoder

    def forward(self, embedding: paddle.Tensor, mask_input: paddle.Tensor) -> paddle.Tensor:
        """Add what the mask inputs say to the embedding.

        Args:
            embedding: FP32 [1, grid, grid, channels].
            mask_input: FP32 [N, 4 * grid, 4 * grid], logits of an earlier low-resolution mask.

        Returns:
            FP32 [N, grid, grid, channels].
        """
        # The decoder will add the dense map of prompts without a mask input.
        dense = self.prompt_encoder.encode_masks(mask_input) - self.prompt_encoder.no_mask()
        return embedding + dense

    def input_specs(self) -> list[InputSpec]:
        """Names, shapes and types of the exported program's inputs."""
        mask_size = self.variant.mask_size
        return [
            InputSpec([1, *self.variant.embedding_shape], "float32", "embedding"),
            InputSpec([None, mask_size, mask_size], "float32", "mask_input"),
        ]


def programs_of(network: SegmentAnything) -> dict[str, Program]:
    """The programs that serve a network, by the names of their folders."""
    return {
        "encoder": EncoderProgram(network),
        "prompt_decoder": PromptDecoderProgram(network),
        "mask_encoder": MaskEncoderProgram(network),
        "image_terms": ImageTermsProgram(network),
        "terms_decoder": TermsDecoderProgram(network),
    }


class Program(Protocol):
    """A layer that can be written as a program."""

    def eval(self) -> None:
        """Leave training mode."""

    def named_parameters(self) -> Iterable[tuple[str, paddle.Tensor]]:
        """Weights by their path."""

    def named_buffers(self) -> Iterable[tuple[str, paddle.Tensor]]:
        """Constants by their path."""

    def input_specs(self) -> list[InputSpec]:
        """Names, shapes and types of the inputs."""


def save_program(program: Program, folder: Path) -> None:
    """Write a program as a Paddle Inference model: `<folder>/inference.json`, `.pdiparams`.

    Its weights carry their paths as names, which are the checkpoint's keys: they can be read back
    from an installed model.
    """
    program.eval()
    for path, tensor in (*program.named_parameters(), *program.named_buffers()):
        tensor.name = path
    with warnings.catch_warnings():
        # Paddle's own `where` and `zeros_like` use an attribute that its tracer warns of.
        warnings.filterwarnings("ignore", message="Tensor do not have 'place'")
        paddle.jit.save(program, str(folder / PROGRAM_NAME), input_spec=program.input_specs())
