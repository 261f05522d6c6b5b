"""Gather the training pictures and ImageNet weights in one small folder, for a machine without net.

    python pack.py --packages PACKAGES --out ../.pack

PACKAGES holds the unpacked packages of README.md. Out come about 30 MB: each emoji set as a zip of
WebP pictures, the photographs as JPEG, the outlined photographs, and float16 ImageNet weights.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from composites import PHOTO_SIDE, SKIMAGE_PHOTOS
from cutouts import iconify, renderings
from safetensors.torch import save_file
from textures import Array

# package of the set -> how many pictures at most, their side, WebP quality
SETS = {
    "lobehub-fluent-emoji-3d": (3000, 200, 78),
    "iconify-json-twemoji": (1000, 192, 80),
    "iconify-json-emojione": (750, 192, 80),
    "iconify-json-fxemoji": (700, 192, 80),
    "iconify-json-openmoji": (700, 192, 80),
}
PLASMA = (
    "Autumn", "BytheWater", "Canopee", "ColdRipple", "ColorfulCups", "DarkestHour", "EveningGlow",
    "FallenLeaf", "Flow", "Grey", "Kite", "OneStandsOut", "Opal", "Path", "SafeLanding", "Volna",
    "summer_1am",
)  # fmt: skip
UKUI = ("calla.png", "goldfish.png", "2004default.jpg", "rhythm.jpg", "string.jpg")


def bleed(image: Array) -> Array:
    """RGBA whose invisible pixels take the colours beside them, so that edges have no dark rim."""
    alpha = image[:, :, 3:].astype(np.float32) / 255
    colour = image[:, :, :3].astype(np.float32)
    total, weight = colour * alpha, alpha[:, :, 0].copy()
    spread, reach = total.copy(), weight.copy()
    for sigma in (1.5, 5, 20):
        near = cv2.GaussianBlur(weight, (0, 0), sigma)
        missing = np.clip(1 - reach, 0, 1) * (near > 1e-3)
        mean = cv2.GaussianBlur(total, (0, 0), sigma) / np.maximum(near, 1e-3)[:, :, None]
        spread += missing[:, :, None] * mean
        reach += missing
    solid = alpha > 0.98
    out = np.where(solid, colour, spread / np.maximum(reach, 1e-3)[:, :, None])
    return np.dstack([np.clip(out, 0, 255).astype(np.uint8), image[:, :, 3]])


def emoji(package: Path) -> Iterator[Array]:
    """Every picture of an emoji package, RGBA."""
    assets = package / "package" / "assets"
    return renderings(assets) if assets.exists() else iconify(package / "package" / "icons.json")


def write_set(package: Path, target: Path, most: int, side: int, quality: int) -> None:
    """One emoji set as a zip of WebP pictures of `side` pixels."""
    images = list(emoji(package))
    chosen = np.random.default_rng(0).permutation(len(images))[:most]
    with zipfile.ZipFile(target, "w") as archive:
        for number in sorted(chosen.tolist()):
            image = images[number]
            mode = cv2.INTER_AREA if image.shape[0] > side else cv2.INTER_CUBIC
            image = bleed(cv2.resize(image, (side, side), interpolation=mode))
            image = cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA)
            data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, quality])[1]
            archive.writestr(f"{number:05}.webp", data.tobytes())
    print(f"{target.name}: {len(chosen)} of {len(images)}, {target.stat().st_size / 1e6:.1f} MB")


def photographs(packages: Path) -> Iterator[Path]:
    """The training photographs in the unpacked packages; of several sizes, the largest file."""
    for path in sorted(packages.rglob("skimage/data/*")):
        if path.name in SKIMAGE_PHOTOS:
            yield path
    for name in PLASMA:
        sizes = list(packages.rglob(f"wallpapers/{name}/contents/images/*.*"))
        yield max(sizes, key=lambda path: path.stat().st_size)
    for path in sorted(packages.rglob("share/backgrounds/**/*")):
        real = path.is_file() and not path.is_symlink()
        if real and (path.name in UKUI or path.parent.name == "nature" or "_by_" in path.name):
            yield path


def write_photographs(paths: Iterator[Path], target: Path) -> None:
    """Photographs as JPEG with a shorter side of at most 960 pixels."""
    target.mkdir(parents=True, exist_ok=True)
    for path in paths:
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        scale = min(1.0, PHOTO_SIDE / min(image.shape[:2]))
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        name = path.parents[2].name if "wallpapers" in path.parts else path.stem
        cv2.imwrite(str(target / f"{name}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 74])


def main() -> None:
    """Read the arguments, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--packages", type=Path, required=True, help="folder of unpacked packages")
    add("--out", type=Path, default=Path("../.pack"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for stem, (most, side, quality) in SETS.items():
        package = next(path for path in args.packages.rglob(f"{stem}*") if path.is_dir())
        write_set(
            package,
            args.out / f"{stem.removeprefix('lobehub-').removeprefix('iconify-json-')}.zip",
            most,
            side,
            quality,
        )
    write_photographs(photographs(args.packages), args.out / "photos")
    source = next(args.packages.rglob("efficientnet_lite2*/**/*.pth"))
    state = torch.load(io.BytesIO(source.read_bytes()), weights_only=True)
    state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    kept = {k: v.contiguous() for k, v in state.items() if not k.startswith(("_fc", "_conv_head"))}
    save_file(kept, args.out / "imagenet.safetensors")


if __name__ == "__main__":
    main()
