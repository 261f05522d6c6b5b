"""`sam_mini`: our encoder, Meta's prompt encoder and mask decoder, and a batched decoder call."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import torch
from encoder import EMBEDDING_WIDTH, MiniImageEncoder
from numpy.typing import NDArray
from torch import Tensor, nn


def _stand_in_for_torchvision() -> None:
    """segment_anything imports torchvision for its pre-processing, which we do not use."""
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules.setdefault(name, ModuleType(name))
    functional = sys.modules["torchvision.transforms.functional"]
    for name in ("resize", "to_pil_image"):
        functional.__dict__.setdefault(name, None)
    boxes = ModuleType("torchvision.ops.boxes")
    boxes.__dict__.update(batched_nms=None, box_area=None)
    sys.modules.setdefault("torchvision.ops", ModuleType("torchvision.ops"))
    sys.modules.setdefault("torchvision.ops.boxes", boxes)


_stand_in_for_torchvision()
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer  # noqa: E402
from segment_anything.modeling.transformer import Attention  # noqa: E402

MEAN = torch.tensor([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1)


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """[B, S, S, 3] uint8 RGB -> [B, 3, S, S] float32."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.float32)
    return ((pixels - MEAN) / STD).contiguous()


class SamMini(nn.Module):
    """The three parts under Meta's names."""

    def __init__(self, size: int = 512) -> None:
        super().__init__()
        grid = size // 8
        self.image_encoder = MiniImageEncoder()
        self.prompt_encoder = PromptEncoder(
            embed_dim=EMBEDDING_WIDTH,
            image_embedding_size=(grid, grid),
            input_image_size=(size, size),
            mask_in_chans=16,
        )
        self.mask_decoder = MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=EMBEDDING_WIDTH, mlp_dim=2048, num_heads=8
            ),
            transformer_dim=EMBEDDING_WIDTH,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        )

    def sparse(self, points: Tensor, kinds: Tensor) -> Tensor:
        """Points [P, T, 2] as fractions of the frame; kinds [T] or [P, T] -> [P, T, 256].

        Kinds are Meta's labels: -1 padding, 0 background, 1 foreground, 2 and 3 box corners.
        """
        encoder = self.prompt_encoder
        kinds = kinds.expand(points.shape[:2])
        table = torch.cat(
            [encoder.not_a_point_embed.weight, *(e.weight for e in encoder.point_embeddings)]
        )
        position = encoder.pe_layer._pe_encoding(points)
        return table[kinds + 1] + position * (kinds >= 0)[:, :, None]

    def decode(self, embedding: Tensor, sparse: Tensor, mask_inputs: Tensor | None) -> tuple:
        """What MaskDecoder.predict_masks computes, for P prompts on each of B images at once.

        embedding [B, 256, g, g], sparse [B * P, T, 256], mask_inputs [B * P, 1, 4g, 4g] or None
        -> mask logits [B * P, 4, 4g, 4g], predicted IoU [B * P, 4].
        """
        decoder = self.mask_decoder
        b, c, g, _ = embedding.shape
        sparse = sparse.to(embedding.dtype)
        n = sparse.shape[0]
        per = n // b
        if mask_inputs is None:  # the image side is the same for all prompts: keep it once
            image = embedding + self.prompt_encoder.no_mask_embed.weight.reshape(1, c, 1, 1)
        else:
            dense = self.prompt_encoder.mask_downscaling(mask_inputs.to(embedding.dtype))
            image = embedding.repeat_interleave(per, dim=0) + dense
        keys = image.flatten(2).transpose(1, 2)  # [B or B * P, N, C]
        key_pe = self.prompt_encoder.pe_layer((g, g)).flatten(1).t()[None].to(embedding.dtype)
        output = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([output[None].expand(n, -1, -1), sparse], dim=1)
        queries = tokens
        for layer in decoder.transformer.layers:
            if layer.skip_first_layer_pe:
                queries = layer.self_attn(queries, queries, queries)
            else:
                q = queries + tokens
                queries = queries + layer.self_attn(q, q, queries)
            queries = layer.norm1(queries)
            k = keys + key_pe
            from_image = to_image(layer.cross_attn_token_to_image, queries + tokens, k, keys)
            queries = layer.norm2(queries + from_image)
            queries = layer.norm3(queries + layer.mlp(queries))
            change = to_tokens(layer.cross_attn_image_to_token, k, queries + tokens, queries)
            if keys.shape[0] != n:
                keys = keys[:, None].expand(b, per, -1, -1).reshape(n, -1, c)
            keys = layer.norm4(keys + change)
        final = decoder.transformer.final_attn_token_to_image
        queries = queries + to_image(final, queries + tokens, keys + key_pe, keys)
        queries = decoder.transformer.norm_final_attn(queries)

        up = upscale(decoder.output_upscaling, keys, g)  # [n, N * 16, C / 8]
        hyper = torch.stack(
            [m(queries[:, 1 + i]) for i, m in enumerate(decoder.output_hypernetworks_mlps)], dim=1
        )
        masks = (hyper @ up.transpose(1, 2)).reshape(n, -1, g, g, 2, 2, 2, 2)  # y x dy dx ddy ddx
        masks = masks.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(n, -1, 4 * g, 4 * g)
        return masks, decoder.iou_prediction_head(queries[:, 0])


def to_image(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Tokens [n, T, C] look at the image [B or n, N, C] -> [n, T, C]."""
    n, t, _ = q.shape
    heads, images = attention.num_heads, k.shape[0]
    q = attention.q_proj(q).reshape(images, n // images * t, heads, -1).transpose(1, 2)
    k = attention.k_proj(k).reshape(images, k.shape[1], heads, -1).transpose(1, 2)
    v = attention.v_proj(v).reshape(images, v.shape[1], heads, -1).transpose(1, 2)
    out = nn.functional.scaled_dot_product_attention(q, k, v)
    return attention.out_proj(out.transpose(1, 2).reshape(n, t, -1))


def to_tokens(attention: Attention, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The image [B or n, N, C] looks at tokens [n, T, C] -> [n, N, C]."""
    n, t, _ = k.shape
    heads, images, cells = attention.num_heads, q.shape[0], q.shape[1]
    q = attention.q_proj(q).reshape(images, cells, heads, -1).transpose(1, 2)
    if images != n:
        q = q[:, None].expand(-1, n // images, -1, -1, -1).reshape(n, heads, cells, -1)
    k = attention.k_proj(k).reshape(n, t, heads, -1).transpose(1, 2)
    v = attention.v_proj(v).reshape(n, t, heads, -1).transpose(1, 2)
    out = nn.functional.scaled_dot_product_attention(q, k, v)
    return attention.out_proj(out.transpose(1, 2).reshape(n, cells, -1))


def upscale(layers: nn.Sequential, keys: Tensor, g: int) -> Tensor:
    """The two transposed convolutions as matrix products: [n, N, C] -> [n, N * 16, C / 8]."""
    first, norm, act, second, _ = layers
    x = keys.reshape(-1, keys.shape[2]) @ first.weight.permute(0, 2, 3, 1).flatten(1)
    x = x.reshape(-1, first.out_channels) + first.bias  # rows: image, cell, dy, dx
    x = act(nn.functional.layer_norm(x, x.shape[1:], norm.weight, norm.bias, norm.eps))
    x = x @ second.weight.permute(0, 2, 3, 1).flatten(1)
    x = act(x.reshape(-1, second.out_channels) + second.bias)
    return x.reshape(keys.shape[0], -1, second.out_channels)
