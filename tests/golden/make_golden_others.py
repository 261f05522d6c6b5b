"""Record what MobileSAM's package and transformers' SamModel answer, as make_golden.py Meta's.

<output>/mobile_sam_*.npz, hugging_face_*.npz    answers, as make_golden.py describes them
<output>/mobile_sam_shapes.json                  names and shapes of MobileSAM's state dict
<output>/sam_tiny_hugging_face/                  a SamModel in the sizes of `sam_tiny`, as
                                                 `save_pretrained` writes it
"""

from __future__ import annotations

import argparse
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cases import GOLDENS
from make_golden import provide_torchvision, record
from seeded_weights import seeded_tensor


def provide_timm() -> None:
    """Stand in for the four names of timm that MobileSAM imports; at inference none matters."""
    layers: Any = types.ModuleType("timm.models.layers")
    layers.DropPath = torch.nn.Identity  # the model is built with a drop rate of zero
    layers.to_2tuple = lambda size: (size, size)
    layers.trunc_normal_ = torch.nn.init.trunc_normal_
    registry: Any = types.ModuleType("timm.models.registry")
    registry.register_model = lambda build: build
    for name in ("timm", "timm.models"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["timm.models.layers"] = layers
    sys.modules["timm.models.registry"] = registry


def fill_seeded(network: torch.nn.Module) -> None:
    """Give every floating point tensor of the state dict its seeded values; leave integers."""
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(torch.from_numpy(seeded_tensor(name, tuple(tensor.shape))))
    network.eval()  # MobileSAM spreads its attention biases here


def mobile_sam_predictor(output: Path) -> Any:
    """MobileSAM's own predictor with seeded weights; also writes their names and shapes."""
    provide_torchvision()
    provide_timm()
    from mobile_sam import SamPredictor, sam_model_registry

    network = sam_model_registry["vit_t"]()
    fill_seeded(network)
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    lines = (f"{json.dumps(name)}: {json.dumps(shape)}" for name, shape in shapes.items())
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    (output / "mobile_sam_shapes.json").write_text(text)
    return SamPredictor(network)


class HuggingFacePredictor:
    """transformers' SamModel and SamProcessor behind the methods of Meta's predictor."""

    def __init__(self, network: Any, processor: Any) -> None:
        self.network = network
        self.processor = processor

    def set_image(self, image: np.ndarray) -> None:
        """uint8 [H, W, 3], RGB."""
        self.image = image
        inputs = self.processor(image, return_tensors="pt")
        self.input_size = tuple(inputs["reshaped_input_sizes"][0].tolist())
        with torch.no_grad():
            self.embedding = self.network.get_image_embeddings(inputs["pixel_values"])

    def get_image_embedding(self) -> torch.Tensor:
        """float32 [1, channels, grid, grid]."""
        return self.embedding

    def predict(
        self,
        point_coords: np.ndarray | None,
        point_labels: np.ndarray | None,
        box: np.ndarray | None,
        mask_input: np.ndarray | None,
        multimask_output: bool,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Masks bool [M, H, W], predicted IoU [M], low-resolution logits [M, 256, 256]."""
        inputs = self.processor(
            self.image,
            input_points=None if point_coords is None else [[point_coords.tolist()]],
            input_labels=None if point_labels is None else [[point_labels.tolist()]],
            input_boxes=None if box is None else [[box.tolist()]],
            return_tensors="pt",
        )
        original_sizes = inputs.pop("original_sizes")
        reshaped_sizes = inputs.pop("reshaped_input_sizes")
        del inputs["pixel_values"]
        prompts = {
            name: value.float() if value.is_floating_point() else value
            for name, value in inputs.items()
        }
        with torch.no_grad():
            answer = self.network(
                image_embeddings=self.embedding,
                input_masks=None if mask_input is None else torch.from_numpy(mask_input)[None],
                multimask_output=multimask_output,
                **prompts,
            )
        (masks,) = self.processor.post_process_masks(
            answer.pred_masks, original_sizes, reshaped_sizes
        )
        return (
            masks[0].numpy(),
            answer.iou_scores[0, 0].numpy(),
            answer.pred_masks[0, 0].numpy(),
        )


def hugging_face_predictor(output: Path) -> HuggingFacePredictor:
    """A seeded SamModel in the sizes of our `sam_tiny`; also saves it."""
    from transformers import SamConfig, SamModel, SamProcessor
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    channels = 32
    network = SamModel(
        SamConfig(
            vision_config={
                "hidden_size": 32,
                "num_hidden_layers": 2,
                "num_attention_heads": 2,
                "mlp_dim": 128,
                "global_attn_indexes": [1],
                "output_channels": channels,
                "num_pos_feats": channels // 2,
            },
            prompt_encoder_config={"hidden_size": channels},
            mask_decoder_config={
                "hidden_size": channels,
                "mlp_dim": 64,
                "iou_head_hidden_dim": 32,
            },
        )
    )
    fill_seeded(network)
    network.tie_weights()
    network.save_pretrained(output / "sam_tiny_hugging_face")
    return HuggingFacePredictor(network, SamProcessor(SamImageProcessorPil()))


def main() -> None:
    """Write all golden files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parent,
        help="folder for the files (default: beside this script)",
    )
    output: Path = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)

    # In this order: transformers looks for the real torchvision, not for the stand-in.
    predictors = {
        "hugging_face": hugging_face_predictor(output),
        "mobile_sam": mobile_sam_predictor(output),
    }
    for golden in GOLDENS:
        if golden.reference in predictors:
            record(golden, predictors[golden.reference], output)


if __name__ == "__main__":
    main()
