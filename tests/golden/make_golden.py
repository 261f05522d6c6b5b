"""Record what Meta's segment-anything answers, for our network to be compared with.

Run it in an environment with tests/reference/requirements.txt. It builds Meta's models with the
weights of `seeded_weights.py`, asks Meta's own SamPredictor every prompt of `cases.py`, and writes

    <output>/<golden>.npz    sampled embedding, and for each case sampled low-resolution logits,
                             predicted IoU and final masks (COCO RLE, original size)
    <output>/sam_tiny.pth    the tiny model's state dict, saved by torch
    <output>/dtypes.pth      tensors of many types and layouts, with dtypes.npz, their values
    <output>/sam_vit_b.pth   only with --with-vit-b: its state dict (375 MB)
"""

from __future__ import annotations

import argparse
import sys
import time
import types
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent))
from cases import EMBEDDING_STEP, GOLDENS, LOGIT_STEP, PHOTO_FOLDER, Case, Golden, mask_input
from seeded_weights import seeded_state_dict


def provide_torchvision() -> None:
    """Stand in for the two functions of torchvision that segment-anything uses.

    For Pillow images torchvision's `resize` is Pillow's own bilinear `resize`. torchvision itself
    must match the build of torch exactly, and would be a large dependency for so little.
    """
    try:
        import torchvision.ops
        import torchvision.transforms.functional  # noqa: F401
    except ImportError:
        functional: Any = types.ModuleType("torchvision.transforms.functional")
        functional.to_pil_image = Image.fromarray
        functional.resize = lambda image, size: image.resize(
            (size[1], size[0]), Image.Resampling.BILINEAR
        )
        boxes: Any = types.ModuleType("torchvision.ops.boxes")
        boxes.batched_nms = boxes.box_area = None  # of the automatic mask generator
        for name in ("torchvision", "torchvision.transforms", "torchvision.ops"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["torchvision.transforms.functional"] = functional
        sys.modules["torchvision.ops.boxes"] = boxes


def build_tiny() -> torch.nn.Module:
    """Meta's network in the sizes of our `sam_tiny` variant."""
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    channels, grid, side = 32, 64, 1024
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=side,
            patch_size=16,
            embed_dim=32,
            depth=2,
            num_heads=2,
            out_chans=channels,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=14,
            global_attn_indexes=(1,),
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=channels,
            image_embedding_size=(grid, grid),
            input_image_size=(side, side),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=channels,
            transformer=TwoWayTransformer(depth=2, embedding_dim=channels, num_heads=8, mlp_dim=64),
            iou_head_hidden_dim=32,
        ),
    )


def build_seeded(variant: str) -> torch.nn.Module:
    """Meta's network of a variant, with seeded weights, ready to predict."""
    from segment_anything import sam_model_registry

    builders = {
        "sam_tiny": build_tiny,
        **{f"sam_{name}": build for name, build in sam_model_registry.items()},
    }
    network = builders[variant]().eval()
    state_dict = network.state_dict()
    weights = seeded_state_dict({name: tuple(value.shape) for name, value in state_dict.items()})
    network.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return network


def record(golden: Golden, predictor: Any, output: Path) -> None:
    """Ask a predictor, Meta's or one with its methods, every case and write the answers."""
    photo = np.asarray(Image.open(PHOTO_FOLDER / golden.photo).convert("RGB"))
    started = time.perf_counter()
    predictor.set_image(photo)
    print(f"{golden.name}: embedding in {time.perf_counter() - started:.1f} s")
    embedding = predictor.get_image_embedding().numpy()
    arrays: dict[str, Any] = {
        "input_size": np.array(predictor.input_size),
        "embedding_shape": np.array(embedding.shape),
        "embedding": embedding.ravel()[::EMBEDDING_STEP],
    }
    for case in golden.cases:
        masks, scores, logits = ask(predictor, case)
        arrays[f"{case.name}.low_res_logits"] = logits[:, ::LOGIT_STEP, ::LOGIT_STEP]
        arrays[f"{case.name}.iou_predictions"] = scores
        arrays[f"{case.name}.rle"] = np.array([encode_rle(mask) for mask in masks])
        shares = ", ".join(f"{mask.mean():.3f}" for mask in masks)
        print(f"  {case.name}: covers {shares}; IoU {scores.round(3)}; std {logits.std():.2f}")
    np.savez_compressed(output / f"{golden.name}.npz", **arrays)


def ask(predictor: Any, case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks bool [M, H, W], predicted IoU [M], low-resolution logits [M, 256, 256]."""
    return predictor.predict(
        point_coords=np.array(case.points) if case.points else None,
        point_labels=np.array(case.labels) if case.points else None,
        box=np.array(case.box) if case.box else None,
        mask_input=mask_input()[None] if case.has_mask_input else None,
        multimask_output=case.multimask,
    )


def encode_rle(mask: np.ndarray) -> bytes:
    """COCO's compressed run lengths of one mask."""
    from pycocotools import mask as coco_mask

    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"]


def save_tensor_types(output: Path) -> None:
    """A state dict of awkward tensors, saved by torch, and the values a reader must find."""
    values = torch.arange(-12, 12, dtype=torch.float32) / 8
    tensors = {
        "float32": values.clone(),
        "float16": values.half(),
        "bfloat16": values.bfloat16(),
        "float64": values.double(),
        "int64": torch.arange(-3, 3),
        "transposed": values.reshape(4, 6).t(),
        "offset": values[5:11],
        "strided": values.reshape(4, 6)[1:, ::2],
        "expanded": values[:3].reshape(3, 1).expand(3, 4),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(values.reshape(2, 12)),
    }
    torch.save(tensors, output / "dtypes.pth")
    arrays = {
        name: (tensor if tensor.dtype == torch.int64 else tensor.float()).detach().numpy()
        for name, tensor in tensors.items()
    }
    np.savez_compressed(output / "dtypes.npz", **arrays)


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
    parser.add_argument(
        "--with-vit-b", action="store_true", help="also save sam_vit_b.pth (375 MB)"
    )
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)

    provide_torchvision()
    from segment_anything import SamPredictor

    torch.manual_seed(0)
    save_tensor_types(arguments.output)
    networks: dict[str, torch.nn.Module] = {}
    for golden in (golden for golden in GOLDENS if golden.reference == "meta"):
        if golden.variant not in networks:
            networks[golden.variant] = build_seeded(golden.variant)
        record(golden, SamPredictor(networks[golden.variant]), arguments.output)
    torch.save(networks["sam_tiny"].state_dict(), arguments.output / "sam_tiny.pth")
    if arguments.with_vit_b:
        torch.save(networks["sam_vit_b"].state_dict(), arguments.output / "sam_vit_b.pth")


if __name__ == "__main__":
    main()
