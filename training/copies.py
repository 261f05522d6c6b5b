"""Copies of the model that a run keeps beside the weights that learn: averaged, and in bfloat16."""

from __future__ import annotations

import copy

import torch
from model import SamMini
from torch import nn


class Averaged:
    """Exponential moving average of every floating-point weight and buffer."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.live = {k: v for k, v in module.state_dict().items() if v.is_floating_point()}
        self.state = {k: v.clone() for k, v in self.live.items()}

    def update(self) -> None:
        """Move a little towards the present weights, faster while the run is young."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (20 + self.steps))
        torch._foreach_lerp_(list(self.state.values()), list(self.live.values()), 1 - decay)


class Shadow:
    """A copy of the decoder in lower precision, which computes; the float32 weights only learn."""

    def __init__(self, model: SamMini, kind: torch.dtype) -> None:
        decoder = {"prompt_encoder": model.prompt_encoder, "mask_decoder": model.mask_decoder}
        self.model = copy.deepcopy(model)
        del self.model.image_encoder
        self.model.to(kind)
        # positions need float32
        layer = copy.deepcopy(model.prompt_encoder.pe_layer)
        self.model.prompt_encoder.pe_layer = layer
        self.masters = [p for part in decoder.values() for p in part.parameters()]
        self.copies = [p for name in decoder for p in getattr(self.model, name).parameters()]

    def refresh(self) -> None:
        """Take over the weights."""
        with torch.no_grad():
            torch._foreach_copy_(self.copies, self.masters)

    def hand_back(self) -> None:
        """Give the gradients to the weights."""
        for master, twin in zip(self.masters, self.copies, strict=True):
            master.grad = None if twin.grad is None else twin.grad.float()
            twin.grad = None
