"""Record what Meta's `SamAutomaticMaskGenerator` finds, for ours to be compared with.

Run it in an environment with tests/reference/requirements.txt. It builds Meta's `Sam` around the
encoder of `training/encoder.py` with the weights of `sam_mini`, asks Meta's generator every case of
`everything_cases.py`, and writes

    <output>/<case>.npz    of each mask, in Meta's order: COCO RLE, area, box (XYWH), predicted IoU,
                           stability, point, crop (XYWH)
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent.parent / "training")]
from encoder import EMBEDDING_WIDTH, MiniImageEncoder  # noqa: E402
from everything_cases import EVERYTHING_CASES, WEIGHTS, EverythingCase  # noqa: E402
from make_golden import provide_torchvision  # noqa: E402

SIDE, STRIDE = 512, 8


def batched_nms(
    boxes: torch.Tensor, scores: torch.Tensor, idxs: torch.Tensor, iou_threshold: float
) -> torch.Tensor:
    """torchvision's, of one category, as its documentation describes it."""
    kept: list[int] = []
    for i in scores.argsort(descending=True, stable=True).tolist():
        if not kept or not (_ious(boxes[i], boxes[kept]) > iou_threshold).any():
            kept.append(i)
    return torch.tensor(kept, dtype=torch.int64)


def _ious(box: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    start = torch.maximum(box[:2], others[:, :2])
    stop = torch.minimum(box[2:], others[:, 2:])
    shared = (stop - start).clamp(min=0).prod(dim=1)
    return shared / (box_area(box[None]) + box_area(others) - shared)


def box_area(boxes: torch.Tensor) -> torch.Tensor:
    """torchvision's: [K, 4] -> [K]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def build_mini() -> torch.nn.Module:
    """Meta's `Sam` with the weights of `sam_mini`, in float32."""
    from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    image_encoder = MiniImageEncoder(folded=True)
    image_encoder.img_size = SIDE
    network = Sam(
        image_encoder=image_encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=EMBEDDING_WIDTH,
            image_embedding_size=(SIDE // STRIDE, SIDE // STRIDE),
            input_image_size=(SIDE, SIDE),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=EMBEDDING_WIDTH,
            transformer=TwoWayTransformer(
                depth=2, embedding_dim=EMBEDDING_WIDTH, num_heads=8, mlp_dim=2048
            ),
        ),
    )
    network.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()})
    return network.eval()


def make_generator(network: torch.nn.Module, **parameters: Any) -> Any:
    """Meta's generator, with torchvision or without."""
    from segment_anything import automatic_mask_generator as meta

    if meta.batched_nms is None:
        meta.batched_nms, meta.box_area = batched_nms, box_area
    return meta.SamAutomaticMaskGenerator(network, output_mode="coco_rle", **parameters)


def read_photo(path: Path) -> np.ndarray:
    """uint8 [H, W, 3], RGB."""
    return np.asarray(Image.open(path).convert("RGB"))


def record(case: EverythingCase, network: torch.nn.Module, output: Path) -> None:
    """Ask Meta's generator one case and write the answer."""
    generator = make_generator(network, **case.parameters)
    started = time.perf_counter()
    found = generator.generate(read_photo(case.photo))
    print(f"{case.name}: {len(found)} masks in {time.perf_counter() - started:.1f} s")
    np.savez_compressed(
        output / f"{case.name}.npz",
        size=found[0]["segmentation"]["size"],
        counts=np.array([mask["segmentation"]["counts"].encode() for mask in found]),
        **{
            name: np.array([mask[name] for mask in found])
            for name in ("area", "bbox", "predicted_iou", "stability_score", "crop_box")
        },
        point_coords=np.array([mask["point_coords"][0] for mask in found]),
    )


def main() -> None:
    """Write all golden files."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=FOLDER, help="folder for the files (default: this one)"
    )
    arguments = parser.parse_args()
    provide_torchvision()
    network = build_mini()
    for case in EVERYTHING_CASES:
        record(case, network, arguments.output)


if __name__ == "__main__":
    main()
