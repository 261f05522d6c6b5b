"""The README of an exported model: its programs and their tensors."""

from __future__ import annotations

from collections.abc import Sequence

from ovseg.manifest import IMAGE_TERMS, TERMS_DECODER_TOKENS, ModelManifest, PromptKind

Row = tuple[str, str, str]
"""(tensor, type and shape, meaning)"""

POINT_LABELS = (
    "1 foreground, 0 background, 2 / 3 top-left / bottom-right corner of a box, -1 padding"
)


def describe_export(
    manifest: ModelManifest, export_format: str, kinds: Sequence[PromptKind]
) -> str:
    """The text of the README, Markdown."""
    side = manifest.input_size
    lines = [
        f"# {manifest.name}, in the format `{export_format}`",
        "",
        f"Written by `ovseg export` from {manifest.source} (SHA-256 {manifest.source_sha256}).",
        f"Coordinates are (x, y) in pixels of the model's frame of {side} x {side}: the image is",
        f"resized so that its longest side is {side} (Pillow's bilinear filter), coordinates with",
        "it, and padded at the right and the bottom. Masks are logits: above 0 is inside. Resize",
        f"them to {side} x {side} (bilinear, half-pixel centres), cut the padding off, then resize",
        "to the image.",
    ]
    if export_format == "paddlex":
        names: dict[str, str] = {kind: f"SAM-H_{kind}" for kind in kinds}
        lines += [
            "",
            "PaddleX loads a folder as the `model_dir` of `BoxPromptSegmentation` or",
            "`PointPromptSegmentation` in the configuration of its pipeline",
            "`open_vocabulary_segmentation`.",
        ]
    else:
        names = {name: name for name in manifest.program_names}
    for name, title in names.items():
        lines += ["", f"## {title}", "", *_table(_tensors(manifest)[name])]
    return "\n".join(lines) + "\n"


def _tensors(manifest: ModelManifest) -> dict[str, list[Row]]:
    """The tensors of every program that a model can have."""
    side = manifest.input_size
    embedding = ", ".join(map(str, manifest.embedding_shape))
    mean, std = (
        ", ".join(map(str, values)) for values in (manifest.pixel_mean, manifest.pixel_std)
    )
    image: Row = (
        "in: `images`",
        f"FP32 [1, 3, {side}, {side}]",
        f"(RGB - mean) / std, then padded with zeros; mean {mean}; std {std}",
    )
    mask: Row = ("out: `low_res_masks`", "FP32 [N, 1, 256, 256]", "one mask for each prompt")
    box: Row = ("in: `prompts`", "FP32 [N, 4]", "boxes x0, y0, x1, y1")
    point: Row = ("in: `prompts`", "FP32 [1, P, 2]", "foreground points of one object")
    cut_encoder = [image, ("out: `embedding`", f"FP32 [1, {embedding}]", "what decoders need")]
    if manifest.kind == "cut":
        image = ("in: `embedding`", f"FP32 [1, {embedding}]", "of one image")
    decoder: list[Row] = [
        ("in: `embedding`", f"FP32 [1, {embedding}]", "of one image"),
        ("in: `point_coords`", "FP32 [N, P, 2]", "tokens of N prompts"),
        ("in: `point_labels`", "INT32 [N, P]", POINT_LABELS + " (one where there is no box)"),
        ("in: `mask_index`", "INT32 [M]", "which masks: 0 the mask, 1 to 3 the candidates"),
        ("out: `low_res_masks`", "FP32 [N, M, 256, 256]", "the masks wanted"),
        ("out: `iou_predictions`", "FP32 [N, M]", "their predicted quality"),
    ]
    return {
        "encoder": cut_encoder
        if manifest.kind == "cut"
        else [
            ("in: `pixels`", f"UINT8 [B, {side}, {side}, 3]", "RGB, padded with anything"),
            ("in: `input_size`", "INT32 [B, 2]", "height, width of the image within the frame"),
            ("out: `embedding`", f"FP32 [B, {embedding}]", "what the prompt decoder needs"),
        ],
        "prompt_decoder": decoder,
        "mask_encoder": [
            ("in: `embedding`", f"FP32 [1, {embedding}]", "of one image"),
            ("in: `mask_input`", "FP32 [N, 256, 256]", "logits of earlier masks"),
            (
                "out: `embedding_of_prompts`",
                f"FP32 [N, {embedding}]",
                "what the prompt decoder takes instead, a prompt at a time",
            ),
        ],
        "image_terms": [
            ("in: `embedding`", f"FP32 [1, {embedding}]", "of one image"),
            *_terms("out"),
        ],
        "terms_decoder": [
            *_terms("in"),
            *(
                (tensor, shape.replace(", P", f", {TERMS_DECODER_TOKENS}"), "as above")
                for tensor, shape, _ in decoder[1:]
            ),
        ],
        "box": [image, box, mask],
        "point": [image, point, mask],
    }


def _terms(direction: str) -> list[Row]:
    meaning = "what `terms_decoder` takes of an image: fewer products for many prompts"
    return [(f"{direction}: `{name}`", "FP32", meaning) for name in IMAGE_TERMS]


def _table(rows: Sequence[Row]) -> list[str]:
    return [
        "| tensor | type, shape | meaning |",
        "|---|---|---|",
        *(f"| {tensor} | {shape} | {meaning} |" for tensor, shape, meaning in rows),
        "",
        "Paddle's programs name their outputs `fetch_name_0`, …, in this order.",
    ]
