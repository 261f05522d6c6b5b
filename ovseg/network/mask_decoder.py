"""SAM's mask decoder: a two-way transformer, mask upscaling and the head that predicts IoU.

Source: "Segment Anything" (arXiv:2304.02643, appendix A, "Lightweight mask decoder"); parameter
names and shapes as in facebookresearch/segment-anything, `modeling/mask_decoder.py` and
`modeling/transformer.py`.

The results are Meta's; the order of the products is not. There are thousands of cells and only a
handful of tokens, so what would multiply every cell by a weight matrix multiplies the tokens
instead (see `CrossAttention`). With what is not computed because nobody wants it, that halves the
arithmetic of a prompt. Cells stay rows, [cells, channels], from the embedding to the masks'
pixels, and the image is one for all prompts until the first layer writes to it. For many prompts
on one image there are cells that are not computed at all (see `low_rank_cells.py`).

Shapes: N prompts, T tokens of a prompt, G cells of the image embedding, C channels, M masks of a
prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import paddle
from paddle import nn

from ovseg.network.attention import Attention, CellsToTokens, TokensToCells
from ovseg.network.layers import FeedForward, LayerNorm2d, Perceptron
from ovseg.network.variants import MaskDecoderConfig

CROSS_ATTENTION_REDUCTION = 2  # cross-attention works in half the channels
PERCEPTRON_LAYERS = 3


class Cells(Protocol):
    """The cells of an image, as the tokens of N prompts see and change them."""

    def seen_by(self, attention: TokensToCells, placed_tokens: paddle.Tensor) -> paddle.Tensor:
        """What tokens [N, T, C] with their positions find in the cells: [N, T, C]."""
        ...

    def after(
        self,
        attention: CellsToTokens,
        norm: nn.LayerNorm,
        placed_tokens: paddle.Tensor,
        tokens: paddle.Tensor,
    ) -> Cells:
        """The cells after a look at tokens [N, T, C], with and without positions."""
        ...

    def split(self, convolution: nn.Conv2DTranspose) -> paddle.Tensor:
        """Every cell into 2 x 2 pixels: [N, G * 4, out]."""
        ...


@dataclass(frozen=True)
class ComputedCells:
    """Cells as rows: [N or 1, G, C], and their positions [1, G, C]."""

    features: paddle.Tensor
    positions: paddle.Tensor

    def seen_by(self, attention: TokensToCells, placed_tokens: paddle.Tensor) -> paddle.Tensor:
        """See `Cells.seen_by`."""
        return attention(placed_tokens, self.features + self.positions, self.features)

    def after(
        self,
        attention: CellsToTokens,
        norm: nn.LayerNorm,
        placed_tokens: paddle.Tensor,
        tokens: paddle.Tensor,
    ) -> Cells:
        """See `Cells.after`."""
        change = attention(self.features + self.positions, placed_tokens, tokens)
        return ComputedCells(norm(self.features + change), self.positions)

    def split(self, convolution: nn.Conv2DTranspose) -> paddle.Tensor:
        """See `Cells.split`."""
        return split_rows(self.features, convolution)


class TwoWayBlock(nn.Layer):
    """Self-attention of the tokens, tokens to cells, perceptron, cells to tokens."""

    def __init__(self, channels: int, config: MaskDecoderConfig, *, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        heads, reduction = config.num_heads, CROSS_ATTENTION_REDUCTION
        self.self_attn = Attention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = TokensToCells(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, config.mlp_dim, nn.ReLU())
        self.norm3 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = CellsToTokens(channels, heads, reduction)
        self.norm4 = nn.LayerNorm(channels)

    def forward(
        self, tokens: paddle.Tensor, positions: paddle.Tensor, cells: Cells
    ) -> tuple[paddle.Tensor, Cells]:
        """Tokens [N, T, C] and their positions, and the cells."""
        if self.is_first:
            # The tokens are their own positions here: neither added again nor kept as a residual.
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + positions
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        seen = cells.seen_by(self.cross_attn_token_to_image, tokens + positions)
        tokens = self.norm2(tokens + seen)
        tokens = self.norm3(tokens + self.mlp(tokens))
        placed = tokens + positions
        return tokens, cells.after(self.cross_attn_image_to_token, self.norm4, placed, tokens)


class TwoWayTransformer(nn.Layer):
    """Blocks of two-way attention, then a last look of the tokens at the image."""

    def __init__(self, channels: int, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.layers = nn.LayerList(
            [
                TwoWayBlock(channels, config, is_first=index == 0)
                for index in range(config.transformer_depth)
            ]
        )
        self.final_attn_token_to_image = TokensToCells(
            channels, config.num_heads, CROSS_ATTENTION_REDUCTION
        )
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(
        self, tokens: paddle.Tensor, cells: Cells, wanted: paddle.Tensor
    ) -> tuple[paddle.Tensor, Cells]:
        """Let tokens [N, T, C] and cells look at each other.

        Returns:
            The wanted tokens [N, W, C], by their indices INT32 [W]; the cells.
        """
        positions = tokens
        for layer in self.layers:
            tokens, cells = layer(tokens, positions, cells)
        # From here on the tokens go ways of their own: no other one is worth its last look.
        tokens = paddle.index_select(tokens, wanted, axis=1)
        positions = paddle.index_select(positions, wanted, axis=1)
        seen = cells.seen_by(self.final_attn_token_to_image, tokens + positions)
        return self.norm_final_attn(tokens + seen), cells


class Upscaling(nn.Sequential):
    """Each cell becomes 4 x 4 pixels: two transposed convolutions, as products of rows.

    A transposed convolution whose kernel is as wide as its stride gives every pixel 2 x 2 pixels
    that depend on no other: a product of the pixel's row with [channels, 2 * 2 * out] weights.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(
            nn.Conv2DTranspose(channels, channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.Conv2DTranspose(channels // 4, channels // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )

    def forward(self, cells: Cells) -> paddle.Tensor:
        """[N, G * 16, C // 8]; 2 x 2 pixels of a cell, and 2 x 2 of each of them."""
        first, norm, activation, second, last_activation = self
        pixels = activation(norm.of_rows(cells.split(first)))
        return last_activation(split_rows(pixels, second))


def split_weight(convolution: nn.Conv2DTranspose) -> paddle.Tensor:
    """What a row is multiplied by to get its 2 x 2 pixels: [in, 4 * out]."""
    return convolution.weight.transpose([0, 2, 3, 1]).flatten(start_axis=1)


def split_rows(rows: paddle.Tensor, convolution: nn.Conv2DTranspose) -> paddle.Tensor:
    """Every row into 2 x 2: [N, R, in] -> [N, R * 4, out]."""
    bias = paddle.tile(convolution.bias, [4])
    pixels = nn.functional.linear(rows, split_weight(convolution), bias)
    return pixels.reshape([0, 4 * rows.shape[1], convolution.weight.shape[1]])


class MaskDecoder(nn.Layer):
    """Image embedding and prompt tokens -> low-resolution masks and their predicted IoU."""

    def __init__(self, channels: int, grid_size: int, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.grid_size = grid_size
        self.num_masks = config.num_masks
        self.transformer = TwoWayTransformer(channels, config)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(self.num_masks, channels)
        self.output_upscaling = Upscaling(channels)
        self.output_hypernetworks_mlps = nn.LayerList(
            [
                Perceptron((*[channels] * PERCEPTRON_LAYERS, channels // 8))
                for _ in range(self.num_masks)
            ]
        )
        hidden_dims = [config.iou_head_hidden_dim] * (PERCEPTRON_LAYERS - 1)
        self.iou_prediction_head = Perceptron((channels, *hidden_dims, self.num_masks))

    def forward(
        self,
        cells: Cells,
        prompt_tokens: paddle.Tensor,
        mask_index: paddle.Tensor,
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Predict the masks wanted of every prompt.

        Args:
            cells: the image embedding plus the dense map.
            prompt_tokens: FP32 [N, P, C].
            mask_index: INT32 [M], which masks: 0 is the one for unambiguous prompts, the others
                are the multimask candidates.

        Returns:
            Masks FP32 [N, M, 4 * grid, 4 * grid], logits; predicted IoU FP32 [N, M].
        """
        output_tokens = paddle.concat([self.iou_token.weight, self.mask_tokens.weight], axis=0)
        # Adding zeros spreads the output tokens over the (dynamic) axis of prompts.
        output_tokens = output_tokens.unsqueeze(0) + paddle.zeros_like(prompt_tokens[:, :1])
        tokens = paddle.concat([output_tokens, prompt_tokens], axis=1)
        # Token 0 is for the predicted IoU, the masks' follow.
        wanted = paddle.concat([paddle.zeros_like(mask_index[:1]), 1 + mask_index])
        tokens, cells = self.transformer(tokens, cells, wanted)

        iou = paddle.index_select(self.iou_prediction_head(tokens[:, 0]), mask_index, axis=1)
        mask_weights = self._mask_weights(tokens[:, 1:], mask_index)
        masks = paddle.matmul(mask_weights, self.output_upscaling(cells), transpose_y=True)
        return self._arranged(masks), iou

    def _mask_weights(self, mask_tokens: paddle.Tensor, mask_index: paddle.Tensor) -> paddle.Tensor:
        """Each mask's token [N, M, C] through the perceptron of that mask: [N, M, C // 8]."""
        features = mask_tokens.transpose([1, 0, 2])
        for number in range(PERCEPTRON_LAYERS):
            layer = [perceptron.layers[number] for perceptron in self.output_hypernetworks_mlps]
            weights = paddle.stack([linear.weight for linear in layer])
            biases = paddle.stack([linear.bias for linear in layer]).unsqueeze(1)
            features = nn.functional.relu(features) if number else features
            features = paddle.matmul(features, paddle.index_select(weights, mask_index))
            features = features + paddle.index_select(biases, mask_index)
        return features.transpose([1, 0, 2])

    def _arranged(self, pixels: paddle.Tensor) -> paddle.Tensor:
        """Pixels in the order of `Upscaling`, [N, M, G * 16] -> [N, M, 4 * grid, 4 * grid]."""
        size = self.grid_size
        # Row and column of the cell, of the pixel in it, and of the pixel in that.
        pixels = pixels.reshape([0, -1, size, size, 2, 2, 2, 2]).transpose([0, 1, 2, 4, 6, 3, 5, 7])
        return pixels.reshape([0, -1, 4 * size, 4 * size])
