"""Make the reduced photographs that objects.json outlines, from unpacked packages."""

import argparse
import json
from pathlib import Path

import cv2


def find_photograph(packages: Path, source: str) -> Path:
    """The file under `packages` whose path ends as the last word of `source` does ("package /path/in/package")."""
    inside = source.split()[-1].lstrip("/")
    # Wallpapers repeat file names (2560x1600.jpg), so the whole path inside the package has to match.
    matches = sorted(
        path for path in packages.rglob(Path(inside).name) if str(path).endswith("/" + inside)
    )
    if not matches:
        raise SystemExit(f"{inside} not found under {packages}")
    return matches[0]


def main() -> None:
    """Write one JPEG (quality 95, at the size that the outlines are drawn at) for every photograph of objects.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--packages", type=Path, required=True, help="folder that holds the unpacked packages"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write the pictures to")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    photographs = json.loads(Path(__file__).with_name("objects.json").read_text())["photographs"]
    for photograph in photographs:
        image = cv2.imread(str(find_photograph(args.packages, photograph["source"])))
        if image is None:
            raise SystemExit(f"cannot read the photograph of {photograph['name']}")
        size = (photograph["width"], photograph["height"])
        # The recorded size is the frame of the outlines; only a photograph of other proportions cannot be theirs.
        if abs(image.shape[1] / image.shape[0] - size[0] / size[1]) > 0.01:
            raise SystemExit(
                f"{photograph['name']}: the photograph has other proportions than the outlined one"
            )
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        cv2.imwrite(
            str(args.out / f"{photograph['name']}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 95]
        )


if __name__ == "__main__":
    main()
