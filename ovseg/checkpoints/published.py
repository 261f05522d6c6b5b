"""Models that their publishers offer for download: every address and checksum is here.

Meta and MobileSAM publish no SHA-256. Those below are pinned by several independent projects
(micro-sam and 3D Slicer's extension among them), and Meta's file names end in the start of their
MD5. PaddleX publishes no checksum of its archives and none is known to us: such a file is trusted
when it is first downloaded, and compared with that from then on.

Addresses: README of facebookresearch/segment-anything; ChaoningZhang/MobileSAM, at the commit that
the checksum belongs to; PaddleX 3.7.2, `inference/utils/official_models.py` (the bucket of its
model hoster "bos").
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

_META = "https://dl.fbaipublicfiles.com/segment_anything"
_MOBILE_SAM = "https://github.com/ChaoningZhang/MobileSAM/raw"
_MOBILE_SAM_COMMIT = "f706ad9c4eb7f219c00d9050e46328518ffb65d2"
_PADDLEX = "https://paddle-model-ecology.bj.bcebos.com/paddlex/official_inference_model/paddle3.0.0"


@dataclass(frozen=True)
class PublishedFile:
    """One file at a publisher's."""

    url: str
    size_bytes: int | None = None
    sha256: str | None = None
    """None where no checksum is known."""

    @property
    def name(self) -> str:
        """The file's own name."""
        return urlsplit(self.url).path.rpartition("/")[2]


@dataclass(frozen=True)
class PublishedModel:
    """A model that `ovseg fetch` can install."""

    name: str
    what: str
    publisher: str
    licence: str
    parameters: int
    input_size: int
    files: tuple[PublishedFile, ...]
    approximate_bytes: int
    """Of the download, for people."""
    variant: str | None = None
    """The network that the content must be; None for fused models."""

    @property
    def has_checksums(self) -> bool:
        """Whether every file's checksum is known beforehand."""
        return all(file.sha256 for file in self.files)


def _meta(letter: str, what: str, parameters: int, file: PublishedFile) -> PublishedModel:
    name = f"sam_vit_{letter}"
    size = file.size_bytes or 0
    return PublishedModel(name, what, "Meta", "Apache-2.0", parameters, 1024, (file,), size, name)


_BOX_FILE = PublishedFile(f"{_PADDLEX}/SAM-H_box_infer.tar")
_POINT_FILE = PublishedFile(f"{_PADDLEX}/SAM-H_point_infer.tar")
_SAM_H_BYTES = 2_433_700_000  # the model size in PaddleX's documentation


def _paddlex(name: str, what: str, *files: PublishedFile) -> PublishedModel:
    size = len(files) * _SAM_H_BYTES
    return PublishedModel(name, what, "PaddlePaddle", "Apache-2.0", 641_090_864, 1024, files, size)


PUBLISHED_MODELS = {
    model.name: model
    for model in (
        _meta(
            "b",
            "SAM, ViT-B",
            93_735_728,
            PublishedFile(
                f"{_META}/sam_vit_b_01ec64.pth",
                375_042_383,
                "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
            ),
        ),
        _meta(
            "l",
            "SAM, ViT-L",
            312_343_088,
            PublishedFile(
                f"{_META}/sam_vit_l_0b3195.pth",
                1_249_524_607,
                "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
            ),
        ),
        _meta(
            "h",
            "SAM, ViT-H",
            641_090_864,
            PublishedFile(
                f"{_META}/sam_vit_h_4b8939.pth",
                2_564_550_879,
                "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
            ),
        ),
        PublishedModel(
            "mobile_sam",
            "MobileSAM, TinyViT-5M",
            "C. Zhang et al.",
            "Apache-2.0",
            9_803_780,
            1024,
            (
                PublishedFile(
                    f"{_MOBILE_SAM}/{_MOBILE_SAM_COMMIT}/weights/mobile_sam.pt",
                    40_728_226,
                    "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
                ),
            ),
            40_728_226,
            "mobile_sam",
        ),
        _paddlex("SAM-H_box", "PaddleX's SAM-H, box prompts", _BOX_FILE),
        _paddlex("SAM-H_point", "PaddleX's SAM-H, point prompts", _POINT_FILE),
        _paddlex("SAM-H", "both of PaddleX's, as one model", _BOX_FILE, _POINT_FILE),
    )
}
