"""Write the averaged weights of a run as `sam_mini.safetensors` (float16, Meta's names).

BatchNorm is folded into the encoder's convolutions, so `image_encoder.*` holds nothing but the
weights and biases of convolutions, under the names that `ovseg/network/mini_encoder.py` uses.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from encoder import fold
from model import SamMini
from safetensors.torch import save_file
from torch import Tensor

METADATA = {"format": "ovseg", "variant": "sam_mini", "input_size": "512"}


def load_trained(paths: list[Path]) -> SamMini:
    """The model with the averaged weights of a run, or their mean over several of its phases.

    A path like `run/ema` stands for the files `run/ema.0.pt`, `run/ema.1.pt`, ….
    """
    model = SamMini()
    states: list[dict[str, Tensor]] = []
    for path in paths:
        files = sorted(path.parent.glob(f"{path.name}.*.pt"))
        parts = [torch.load(file, weights_only=True, map_location="cpu") for file in files]
        states.append({name: value.float() for part in parts for name, value in part.items()})
    mean = {k: torch.stack([s[k] for s in states]).mean(0) for k in states[0]}
    missing, unexpected = model.load_state_dict(mean, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing)
    return model.eval()


def folded_state(model: SamMini) -> dict[str, Tensor]:
    """float16 tensors by their names in the weights file."""
    state = {f"image_encoder.{k}": v for k, v in fold(model.image_encoder).state_dict().items()}
    for part in ("prompt_encoder", "mask_decoder"):
        state |= {f"{part}.{k}": v for k, v in getattr(model, part).state_dict().items()}
    return {name: value.to(torch.float16).contiguous() for name, value in state.items()}


def main() -> None:
    """Read the arguments, write the file through a temporary name, say what is in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ema", type=Path, nargs="+", required=True, help="like run/ema")
    parser.add_argument("--out", type=Path, default=Path("../weights/sam_mini.safetensors"))
    args = parser.parse_args()
    state = folded_state(load_trained(args.ema))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    part = args.out.with_suffix(".part")
    save_file(state, part, METADATA)
    part.replace(args.out)
    count = sum(v.numel() for v in state.values())
    size = args.out.stat().st_size / 1e6
    print(f"{args.out}: {len(state)} tensors, {count / 1e6:.2f} M parameters, {size:.1f} MB")


if __name__ == "__main__":
    main()
