"""A prediction's masks in the formats that other tools read.

from ovseg_client import Client, formats

found = Client().predict("photo.jpg", boxes=[[100, 100, 300, 300]])
formats.mask_images(found)[0].save("mask.png")

Each function gives one mask a prompt, in the order of the prompts: of three candidates the one with
the highest score (`Prediction.chosen`). All but `label_map` keep masks exactly.
"""

from ovseg_client.formats.coco import CocoDataset, UncompressedRle, coco_polygons, uncompressed_rles
from ovseg_client.formats.outlines import Ring, rings
from ovseg_client.formats.paddlex import PaddlexRle, paddlex_rles
from ovseg_client.formats.pictures import cutouts, label_map, mask_images

__all__ = [
    "CocoDataset",
    "PaddlexRle",
    "Ring",
    "UncompressedRle",
    "coco_polygons",
    "cutouts",
    "label_map",
    "mask_images",
    "paddlex_rles",
    "rings",
    "uncompressed_rles",
]
