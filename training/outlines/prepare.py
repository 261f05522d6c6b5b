"""Make the reduced photographs that objects.json outlines, from unpacked packages."""

import argparse
import json
from pathlib import Path

import cv2


def find_photograph(packages: Path, source: str) -> Path:
    """The file of a source, "package version /path/in/package", in a folder of unpacked packages.

    Raises SystemExit where no file under `packages` ends in that path.
    """
    inside = source.split()[-1].lstrip("/")
    # Wallpapers repeat file names (2560x1600.jpg), so the whole path has to match.
    for path in sorted(packages.rglob(Path(inside).name)):
        if path.as_posix().endswith("/" + inside):
            return path
    raise SystemExit(f"{inside} not found under {packages}")


def main() -> None:
    """Write one JPEG (quality 95), in the size the outlines are drawn in, for every photograph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--packages", type=Path, required=True, help="folder of unpacked packages")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the pictures to")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    outlines = json.loads(Path(__file__).with_name("objects.json").read_text())
    for photograph in outlines["photographs"]:
        image = cv2.imread(str(find_photograph(args.packages, photograph["source"])))
        if image is None:
            raise SystemExit(f"{photograph['name']}: cannot read {photograph['source']}")
        width, height = photograph["width"], photograph["height"]
        # Another crop would shift the outlines unseen; rounding moves the ratio by less than 1%.
        if abs(image.shape[1] / image.shape[0] - width / height) > 0.01:
            raise SystemExit(f"{photograph['name']}: not the proportions of the outlined one")
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        target = args.out / f"{photograph['name']}.jpg"
        cv2.imwrite(str(target), image, [cv2.IMWRITE_JPEG_QUALITY, 95])


if __name__ == "__main__":
    main()
