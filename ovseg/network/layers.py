"""Small layers shared by the image encoder, the prompt encoder and the mask decoder.

Attribute names are those of Meta's checkpoints throughout this package (`lin1`, `mask_tokens`,
…): a parameter's path in our network is its key in the `.pth` file, so importing is only a matter
of layout (see `ovseg/checkpoints/state_dict.py`).
"""

from __future__ import annotations

import itertools

import paddle
from paddle import nn


class LayerNorm2d(nn.Layer):
    """Layer normalisation over the channels of an image, [B, C, H, W] -> [B, C, H, W]."""

    def __init__(self, channels: int, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = self.create_parameter(
            [channels], default_initializer=nn.initializer.Constant(1.0)
        )
        self.bias = self.create_parameter([channels], is_bias=True)

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        # Channels last, so that one fused layer norm does it.
        return self.of_rows(features.transpose([0, 2, 3, 1])).transpose([0, 3, 1, 2])

    def of_rows(self, rows: paddle.Tensor) -> paddle.Tensor:
        """The same with the channels last already, [..., C] -> [..., C]."""
        channels = self.weight.shape
        return nn.functional.layer_norm(rows, channels, self.weight, self.bias, self.epsilon)


class FeedForward(nn.Layer):
    """A transformer block's two-layer perceptron, [..., dim] -> [..., dim]."""

    def __init__(self, dim: int, hidden_dim: int, activation: nn.Layer) -> None:
        super().__init__()
        self.lin1 = nn.Linear(dim, hidden_dim)
        self.activation = activation
        self.lin2 = nn.Linear(hidden_dim, dim)

    def forward(self, tokens: paddle.Tensor) -> paddle.Tensor:
        return self.lin2(self.activation(self.lin1(tokens)))


class Perceptron(nn.Layer):
    """Linear layers with ReLU between them, [..., in] -> [..., out]."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.LayerList(
            [nn.Linear(size_in, size_out) for size_in, size_out in itertools.pairwise(dims)]
        )

    def forward(self, features: paddle.Tensor) -> paddle.Tensor:
        *hidden_layers, last_layer = self.layers
        for layer in hidden_layers:
            features = nn.functional.relu(layer(features))
        return last_layer(features)
