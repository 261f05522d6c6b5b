"""PaddleX's pipeline and ours: the same lines on the same stand-in models, compared.

    python3.11 -m venv peer
    peer/bin/pip install 'paddlex[multimodal]==3.7.2' paddlepaddle==3.3.1 'pycocotools<=2.0.8'
    .venv/bin/python -m tests.peer.compare_pipeline --peer-python peer/bin/python

Both run `pipeline_session.py`, which differs in nothing but the module that `create_pipeline` is
imported from. It prints a table and ends with exit code 1 if anything differs otherwise than
`pipeline_differences.py` says. `--record FILE` keeps PaddleX's side as test data.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.peer.pipeline_cases import CASES, PIPELINE, make_inputs
from tests.peer.pipeline_differences import EXPECTED, find_differences

_SESSION = Path(__file__).with_name("pipeline_session.py")


def main() -> int:
    """Compare, print the table; exit code 0 if there is no unexpected difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", default="peer/bin/python", help="with PaddleX installed")
    parser.add_argument("--record", type=Path, help="write what PaddleX did to this file")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs = folder / "inputs"
        inputs.mkdir()
        make_inputs(inputs)
        (folder / "cases.json").write_text(json.dumps(CASES), "utf-8")
        peer = _session(str(Path(arguments.peer_python).absolute()), "paddlex", folder)
        ours = _session(sys.executable, "ovseg_client", folder)
        if arguments.record:
            text = json.dumps(peer, indent=1, ensure_ascii=False)
            arguments.record.write_text(text + "\n", "utf-8")
    return _report(peer, ours)


def _session(python: str, module: str, folder: Path) -> dict[str, Any]:
    output = folder / module
    environment = {
        **os.environ,
        "OVSEG_MODEL_DIR": str(folder / "models"),
        "PADDLE_PDX_CACHE_HOME": str(folder / "cache"),
    }
    environment.pop("OVSEG_URL", None)
    subprocess.run(
        [python, str(_SESSION), module, PIPELINE, str(folder / "cases.json"), str(output)],
        check=True,
        cwd=folder / "inputs",
        env=environment,
        capture_output=True,
    )
    records: dict[str, Any] = json.loads((output / "records.json").read_text("utf-8"))
    return records


def _report(peer: dict[str, Any], ours: dict[str, Any]) -> int:
    print("| case | results | masks | identical masks | JSON bytes, PaddleX / ours | differences |")
    print("|---|---|---|---|---|---|")
    unexpected = 0
    for name, theirs in peer.items():
        mine = ours[name]
        pairs = [
            pair
            for one, other in zip(theirs["results"], mine["results"], strict=False)
            for pair in zip(one["rles"], other["rles"], strict=False)
        ]
        differences = find_differences(theirs, mine)
        expected, reason = EXPECTED.get(name, (set(), ""))
        unexpected += differences != expected
        said = f"{', '.join(sorted(differences)) or 'none'}{f' ({reason})' if reason else ''}"
        sizes = " / ".join(str(_json_bytes(record)) for record in (theirs, mine))
        print(
            f"| {name} | {len(theirs['results'])} / {len(mine['results'])} | {len(pairs)} "
            f"| {sum(one == other for one, other in pairs)} | {sizes} "
            f"| {said} |"
        )
    print(f"cases that differ otherwise than expected: {unexpected}")
    return 1 if unexpected else 0


def _json_bytes(record: dict[str, Any]) -> int:
    return sum(file["bytes"] for name, file in record["files"].items() if name.endswith(".json"))


if __name__ == "__main__":
    sys.exit(main())
