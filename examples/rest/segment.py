"""The mask of the object in a box, with Python and its standard library only."""

import base64
import json
import os
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

server = os.environ.get("OVSEG_URL", "http://localhost:8080")
body = {
    "image": base64.b64encode(Path("examples/photo.jpg").read_bytes()).decode(),
    "promptType": "box",
    "prompt": [[150, 12, 300, 150]],
    "visualize": False,
}
request = Request(
    f"{server}/open-vocabulary-segmentation",
    json.dumps(body).encode(),
    {"Content-Type": "application/json"},
)
try:
    with urlopen(request, timeout=60) as response:
        answer = json.load(response)
except HTTPError as error:
    sys.exit(json.load(error)["errorMsg"])

for mask, info in zip(answer["result"]["masks"], answer["result"]["maskInfos"], strict=True):
    print(info["prompt"], info["score"], mask["size"], mask["counts"])
    # pixels = pycocotools.mask.decode(mask)  # uint8 [height, width]
