"""SAM's mask decoder: a two-way transformer, mask upscaling and the head that predicts IoU.

Source: "Segment Anything" (arXiv:2304.02643, appendix A, "Lightweight mask decoder"); parameter
names and shapes as in facebookresearch/segment-anything, `modeling/mask_decoder.py` and
`modeling/transformer.py`.

Shapes: N prompts, T tokens of a prompt, G cells of the image embedding, C channels.
"""

from __future__ import annotations

import math

import paddle
from paddle import nn

from ovseg.network.layers import FeedForward, LayerNorm2d, Perceptron
from ovseg.network.variants import MaskDecoderConfig

CROSS_ATTENTION_REDUCTION = 2  # cross-attention works in half the channels
PERCEPTRON_LAYERS = 3


class Attention(nn.Layer):
    """Multi-head attention with separate inputs, in `channels // reduction` channels."""

    def __init__(self, channels: int, num_heads: int, reduction: int = 1) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = channels // reduction // num_heads
        inner = channels // reduction
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(channels, inner)
        self.v_proj = nn.Linear(channels, inner)
        self.out_proj = nn.Linear(inner, channels)

    def forward(
        self, query: paddle.Tensor, key: paddle.Tensor, value: paddle.Tensor
    ) -> paddle.Tensor:
        """[N, Q, C], [N, K, C], [N, K, C] -> [N, Q, C]."""
        query = self._split_heads(self.q_proj(query))
        key = self._split_heads(self.k_proj(key))
        value = self._split_heads(self.v_proj(value))
        scores = paddle.matmul(query, key, transpose_y=True) / math.sqrt(self.head_dim)
        attended = paddle.matmul(nn.functional.softmax(scores, axis=-1), value)
        attended = attended.transpose([0, 2, 1, 3]).flatten(start_axis=2)
        return self.out_proj(attended)

    def _split_heads(self, features: paddle.Tensor) -> paddle.Tensor:
        """[N, K, heads * head_dim] -> [N, heads, K, head_dim]."""
        return features.reshape([0, 0, self.num_heads, self.head_dim]).transpose([0, 2, 1, 3])


class TwoWayBlock(nn.Layer):
    """Self-attention of the tokens, tokens to image, perceptron, image to tokens."""

    def __init__(self, channels: int, config: MaskDecoderConfig, *, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        heads, reduction = config.num_heads, CROSS_ATTENTION_REDUCTION
        self.self_attn = Attention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, heads, reduction)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, config.mlp_dim, nn.ReLU())
        self.norm3 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = Attention(channels, heads, reduction)
        self.norm4 = nn.LayerNorm(channels)

    def forward(
        self,
        tokens: paddle.Tensor,
        image: paddle.Tensor,
        token_positions: paddle.Tensor,
        image_positions: paddle.Tensor,
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Tokens [N, T, C] and image [N, G, C], with positions that broadcast to them."""
        if self.is_first:
            # The tokens are their own positions here: neither added again nor kept as a residual.
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_positions
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)

        placed_image = image + image_positions
        placed = tokens + token_positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(placed, placed_image, image))
        tokens = self.norm3(tokens + self.mlp(tokens))

        placed = tokens + token_positions
        image = self.norm4(image + self.cross_attn_image_to_token(placed_image, placed, tokens))
        return tokens, image


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
        self.final_attn_token_to_image = Attention(
            channels, config.num_heads, CROSS_ATTENTION_REDUCTION
        )
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(
        self, tokens: paddle.Tensor, image: paddle.Tensor, image_positions: paddle.Tensor
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """[N, T, C], [N, G, C], [1, G, C] -> tokens [N, T, C], image [N, G, C]."""
        positions = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, positions, image_positions)
        attended = self.final_attn_token_to_image(
            tokens + positions, image + image_positions, image
        )
        return self.norm_final_attn(tokens + attended), image


class MaskDecoder(nn.Layer):
    """Image embedding and prompt tokens -> low-resolution masks and their predicted IoU."""

    def __init__(self, channels: int, grid_size: int, config: MaskDecoderConfig) -> None:
        super().__init__()
        self.channels = channels
        self.grid_size = grid_size
        self.num_masks = config.num_masks
        self.transformer = TwoWayTransformer(channels, config)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(self.num_masks, channels)
        self.output_upscaling = nn.Sequential(
            nn.Conv2DTranspose(channels, channels // 4, kernel_size=2, stride=2),
            LayerNorm2d(channels // 4),
            nn.GELU(),
            nn.Conv2DTranspose(channels // 4, channels // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
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
        image: paddle.Tensor,
        image_positions: paddle.Tensor,
        prompt_tokens: paddle.Tensor,
    ) -> tuple[paddle.Tensor, paddle.Tensor]:
        """Predict every mask of every prompt.

        Args:
            image: FP32 [N, C, grid, grid], the image embedding plus each prompt's dense map.
            image_positions: FP32 [1, grid * grid, C], positional encoding of the cells.
            prompt_tokens: FP32 [N, P, C].

        Returns:
            Masks FP32 [N, M, 4 * grid, 4 * grid], logits; predicted IoU FP32 [N, M]. Mask 0 is
            the one for unambiguous prompts, the others are the multimask candidates.
        """
        output_tokens = paddle.concat([self.iou_token.weight, self.mask_tokens.weight], axis=0)
        # Adding zeros spreads the output tokens over the (dynamic) axis of prompts.
        output_tokens = output_tokens.unsqueeze(0) + paddle.zeros_like(prompt_tokens[:, :1])
        tokens = paddle.concat([output_tokens, prompt_tokens], axis=1)
        cells = image.flatten(start_axis=2).transpose([0, 2, 1])

        tokens, cells = self.transformer(tokens, cells, image_positions)

        size = self.grid_size
        image = cells.transpose([0, 2, 1]).reshape([-1, self.channels, size, size])
        upscaled = self.output_upscaling(image).flatten(start_axis=2)
        mask_weights = paddle.stack(
            [
                perceptron(tokens[:, 1 + index])
                for index, perceptron in enumerate(self.output_hypernetworks_mlps)
            ],
            axis=1,
        )
        masks = paddle.matmul(mask_weights, upscaled)
        masks = masks.reshape([-1, self.num_masks, 4 * size, 4 * size])
        return masks, self.iou_prediction_head(tokens[:, 0])
