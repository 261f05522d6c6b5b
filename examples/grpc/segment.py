"""The mask of the object in a box, over gRPC: pip install 'tritonclient[grpc]' pycocotools."""

import os
from pathlib import Path

import numpy as np
import pycocotools.mask
import tritonclient.grpc as triton


def tensor(name: str, values: np.ndarray, kind: str) -> triton.InferInput:
    made = triton.InferInput(name, list(values.shape), kind)
    made.set_data_from_numpy(values)
    return made


photo = np.array([Path("examples/photo.jpg").read_bytes()], np.object_)
# A box is two points: its top left corner (label 2) and its bottom right corner (label 3).
coords = np.array([[[150, 12], [300, 150]]], np.float32)
labels = np.array([[2, 3]], np.int32)

client = triton.InferenceServerClient(os.environ.get("OVSEG_GRPC_URL", "localhost:8001"))
answer = client.infer(
    "open_vocabulary_segmentation",
    inputs=[
        tensor("image", photo, "BYTES"),
        tensor("point_coords", coords, "FP32"),
        tensor("point_labels", labels, "INT32"),
    ],
    # Stages whose outputs nobody asks for do not run.
    outputs=[triton.InferRequestedOutput(name) for name in ("counts", "size", "scores")],
    client_timeout=60,
)
height, width = answer.as_numpy("size").tolist()
found = zip(answer.as_numpy("counts")[:, 0], answer.as_numpy("scores")[:, 0], strict=True)
for counts, score in found:
    pixels = pycocotools.mask.decode({"size": [height, width], "counts": counts})
    print(score, pixels.shape, int(pixels.sum()), counts.decode())
