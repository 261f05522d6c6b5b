"""`make demo`: the documented request on a real photo, against the real server.

Starts `ovseg serve`, sends PaddleX's documented request with three boxes, prints the answer and
the time of each stage, writes the picture, asks again with another prompt (the image is not
encoded twice), and stops everything.
"""

from __future__ import annotations

import base64
import os
import sys
import time
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.table import Table

from ovseg.cli.predict_formats import shorten
from ovseg.server.errors import ServerStartError
from ovseg.server.service import Service, running_service
from ovseg.server.stage_times import StageTimes, watch_stages
from ovseg.settings import EXAMPLE_PHOTO, PROJECT_ROOT

# Boxes [x0, y0, x1, y1] around three objects of the photo, and a point [x, y] on one of them.
BOXES = [[150, 12, 300, 150], [275, 345, 510, 511], [130, 345, 212, 425]]
POINT = [170, 385]
PICTURE = PROJECT_ROOT / "out.jpg"
SHOWN_RLE_CHARACTERS = 28

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run the demonstration; exit code 1 with one line if the server cannot start."""
    chosen_ports = {
        name: value
        for name, value in os.environ.items()
        if name.startswith("OVSEG_") and name.endswith("PORT")
    }
    console.print("starting the real tritonserver and the gateway …")
    try:
        with running_service(chosen_ports) as service:
            _first_request(service)
            _next_request(service)
            console.print("stopping …")
    except ServerStartError as error:
        sys.exit(f"error: {error}")
    console.print(f"done; the picture is [bold]{PICTURE.relative_to(PROJECT_ROOT)}[/]")


def _first_request(service: Service) -> None:
    console.print(
        f"\n[bold]A new image[/]: three boxes on {EXAMPLE_PHOTO.relative_to(PROJECT_ROOT)}"
    )
    answer, times, seconds = _ask(service, {"promptType": "box", "prompt": BOXES})
    PICTURE.write_bytes(base64.b64decode(answer["result"]["image"]))
    _print_answer(answer)
    _print_times(times, seconds)


def _next_request(service: Service) -> None:
    console.print("\n[bold]The same image, another prompt[/]: one point, no picture")
    answer, times, seconds = _ask(
        service, {"promptType": "point", "prompt": [POINT], "visualize": False}
    )
    _print_answer(answer)
    _print_times(times, seconds)


def _ask(service: Service, prompt: dict[str, Any]) -> tuple[dict[str, Any], StageTimes, float]:
    image = base64.b64encode(EXAMPLE_PHOTO.read_bytes()).decode("ascii")
    with watch_stages(service.grpc_address) as times:
        started = time.perf_counter()
        response = httpx.post(
            f"{service.base_url}/open-vocabulary-segmentation",
            json={"image": image, **prompt},
            timeout=120.0,
            trust_env=False,
        )
        seconds = time.perf_counter() - started
    answer: dict[str, Any] = response.json()
    if response.status_code != 200:
        raise ServerStartError(f"the server answered {response.status_code}: {response.text}")
    return answer, times, seconds


def _print_answer(answer: dict[str, Any]) -> None:
    """The answer as JSON, one mask a line, long texts cut."""
    result = _shortened(answer)["result"]
    lines = [
        "{",
        *(f' "{key}": {_json(answer[key])},' for key in ("logId", "errorCode", "errorMsg")),
    ]
    lines.append(' "result": {')
    for name in ("masks", "maskInfos"):
        rows = ",\n    ".join(_json(row) for row in result[name])
        lines.append(f'  "{name}": [\n    {rows}],')
    if "image" in result:
        lines.append(f'  "image": {_json(result["image"])}')
    else:
        lines[-1] = lines[-1].removesuffix(",")
    console.print("\n".join([*lines, " }", "}"]), markup=False)


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def _shortened(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer with its long texts cut, for people."""
    result = answer["result"]
    shown = {
        **result,
        "masks": [
            {
                key: shorten(value, SHOWN_RLE_CHARACTERS) if isinstance(value, str) else value
                for key, value in mask.items()
            }
            for mask in result["masks"]
        ],
    }
    if "image" in result:
        shown["image"] = shorten(result["image"], SHOWN_RLE_CHARACTERS)
    return {**answer, "result": shown}


def _print_times(times: StageTimes, seconds: float) -> None:
    table = Table("stage", "ms", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    if times.cache_hit:
        table.add_row("preprocess, sam_encoder", "cached")
    for stage, milliseconds in times.items():
        table.add_row(stage, f"{milliseconds:.1f}")
    table.add_row("[bold]all, seen by the client[/]", f"[bold]{seconds * 1e3:.1f}[/]")
    console.print(table)


if __name__ == "__main__":
    main()
