"""Paddle Inference computes what Paddle computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from ovseg.engines.paddle_inference import PaddleEngine


class SineAndCosine(nn.Layer):
    """Both of one tensor, as SAM's position encoding has it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("turns", paddle.full([8, 8], 0.25))

    def forward(self, angles: paddle.Tensor) -> paddle.Tensor:
        angles = paddle.matmul(angles, self.turns) * 2.0
        return paddle.concat([paddle.sin(angles), paddle.cos(angles)], axis=-1)


def test_sine_and_cosine_of_one_tensor_are_both_right(tmp_path: Path) -> None:
    program = SineAndCosine()
    program.eval()
    paddle.jit.save(
        program, str(tmp_path / "inference"), input_spec=[InputSpec([None, 8], "float32", "angles")]
    )
    angles = np.linspace(-1, 1, 16, dtype=np.float32).reshape(2, 8)
    (result,) = PaddleEngine(tmp_path, threads=1).run(angles=angles)
    turned = 0.5 * np.repeat(angles.sum(axis=1, keepdims=True), 8, axis=1)
    expected = np.concatenate([np.sin(turned), np.cos(turned)], axis=-1)
    np.testing.assert_allclose(result, expected, atol=1e-5)
