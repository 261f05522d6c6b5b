"""Draws docs/images/architecture.svg from the configurations in model_repository/.

Stages are columns, tensors are lanes: a lane starts where its tensor is made (a ring) and has an
arrow at each stage that takes it. Whatever the ensembles' steps say is drawn; only the words under
the names are ours. Run it after a change of a configuration:

    .venv/bin/python docs/draw_architecture.py
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

ROOT = Path(__file__).parents[1]
REPOSITORY = ROOT / "model_repository"
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
ENSEMBLE = "open_vocabulary_segmentation"

WORDS = {
    "preprocess": "file → pixels",
    "sam_encoder": "pixels → embedding",
    "prompt_decoder": "prompts → logits",
    "postprocess": "logits → COCO RLE",
    "visualize": "masks → picture",
    "everything": "every object, without prompts: a grid of points, batch by batch",
    "open-vocabulary-segmentation": "the REST API's JSON, for PaddleX's Triton clients; it "
    "calls the ensemble",
}
"""Under the names: what each model does."""

WIDTH, GUTTER, PITCH, LANE = 1072, 244, 134, 23
TOP, HEADER = 128, 56
LANES_FROM = TOP + 40 + HEADER + 30
"""Pixels."""
STYLE = """
  svg { color-scheme: light dark; --paper: #ffffff; --ink: #1f2933; --soft: #6b7785;
        --line: #c3ccd6; --card: #f3f6f9; --cache: #fff4dc; --cache-line: #e3b341;
        --in: #2563eb; --between: #7c8794; --out: #15803d; --also: #9333ea; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #11161d; --ink: #e6edf3; --soft: #97a3b0; --line: #3a4552; --card: #1b232d;
          --cache: #2b2412; --cache-line: #8f6d1c; --in: #7aa7ff; --between: #8a96a3;
          --out: #5ec98a; --also: #c78bff; } }
  text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--ink); }
  .title { font-weight: 600; font-size: 13px; }
  .stage { font-weight: 600; }
  .soft { fill: var(--soft); font-size: 11px; }
  .tensor { font: 11px ui-monospace, Menlo, Consolas, monospace; }
  .type { font: 10px ui-monospace, Menlo, Consolas, monospace; fill: var(--soft); }
  .paper { fill: var(--paper); stroke: var(--line); }
  .card { fill: var(--card); stroke: var(--line); }
  .cache { fill: var(--cache); stroke: var(--cache-line); }
  .life { stroke: var(--line); stroke-dasharray: 2 4; }
  .flow { stroke: var(--soft); fill: none; stroke-width: 1.5; }
  .flow-head { fill: var(--soft); }
""" + "".join(
    f"  .{kind} {{ stroke: var(--{kind}); stroke-width: 1.6; }} "
    f".{kind}-fill {{ fill: var(--{kind}); }} "
    f".{kind}-ring {{ fill: var(--paper); stroke: var(--{kind}); stroke-width: 1.8; }}\n"
    for kind in ("in", "between", "out", "also")
)


@dataclass
class Tensor:
    """A lane: one name in the namespace of an ensemble."""

    name: str
    shape: str
    """Type and dimensions, such as "FP32 [*, 2]"."""
    maker: str | None
    """The stage; None for what a caller sends."""
    takers: list[str] = field(default_factory=list)
    optional: bool = False
    output: bool = False
    """Whether a caller may ask for it."""


@dataclass
class Pipeline:
    """The ensemble, with what is inside its inner ensembles in their place."""

    stages: list[str]
    tensors: list[Tensor]
    inner: dict[str, list[str]]
    """Stages of each inner ensemble."""
    configs: dict[str, Any]


def read_pipeline(repository: Path = REPOSITORY) -> Pipeline:
    """What the configurations say."""
    configs = {
        file.parent.name: text_format.Parse(file.read_text("utf-8"), ModelConfig())
        for file in sorted(repository.glob("*/config.pbtxt"))
    }
    main = configs[ENSEMBLE]
    tensors = {
        one.name: Tensor(one.name, _shape(one), None, optional=one.optional) for one in main.input
    }
    pipeline = Pipeline([], [], {}, configs)
    _add_steps(main, {}, tensors, pipeline)
    for one in main.output:
        tensors[one.name].output = True
    pipeline.tensors = list(tensors.values())
    return pipeline


def _add_steps(
    ensemble: Any, names: dict[str, str], tensors: dict[str, Tensor], pipeline: Pipeline
) -> None:
    """Add the steps of an ensemble, whose tensors are called `names` outside of it."""
    for step in ensemble.ensemble_scheduling.step:
        config = pipeline.configs[step.model_name]
        taken = {key: names.get(name, name) for key, name in step.input_map.items()}
        made = {key: names.get(name, name) for key, name in step.output_map.items()}
        if config.platform == "ensemble":
            before = len(pipeline.stages)
            _add_steps(config, {**taken, **made}, tensors, pipeline)
            pipeline.inner[step.model_name] = pipeline.stages[before:]
            continue
        pipeline.stages.append(step.model_name)
        for one in config.input:
            if one.name in taken:
                tensors[taken[one.name]].takers.append(step.model_name)
        for one in config.output:
            if one.name in made:
                name = made[one.name]
                tensors[name] = Tensor(name, _shape(one), step.model_name)


def _shape(tensor: Any) -> str:
    kind = DataType.Name(tensor.data_type).removeprefix("TYPE_").replace("STRING", "BYTES")
    return f"{kind} [{', '.join('*' if size < 0 else str(size) for size in tensor.dims)}]"


class Drawing:
    """SVG elements, one a line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def text(self, x: int, y: int, words: str, kind: str = "", anchor: str = "start") -> None:
        """Words whose baseline is at y."""
        self.lines.append(
            f'<text x="{x}" y="{y}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def box(self, x: int, y: int, width: int, height: int, kind: str = "card") -> None:
        """A rounded rectangle."""
        self.lines.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" class="{kind}"/>'
        )

    def line(self, x: int, y: int, to_x: int, to_y: int, kind: str, dashed: bool = False) -> None:
        """A straight line."""
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self.lines.append(
            f'<line x1="{x}" y1="{y}" x2="{to_x}" y2="{to_y}" class="{kind}"{dashes}/>'
        )

    def ring(self, x: int, y: int, kind: str) -> None:
        """Where a tensor is made."""
        self.lines.append(f'<circle cx="{x}" cy="{y}" r="4" class="{kind}-ring"/>')

    def head(self, x: int, y: int, kind: str, down: bool = False) -> None:
        """The head of an arrow whose tip is at x, y."""
        back = "l-4 -8h8z" if down else "l-8 -4v8z"
        self.lines.append(f'<path d="M{x} {y}{back}" class="{kind}"/>')


def draw(pipeline: Pipeline) -> str:
    """The picture, an SVG document."""
    picture = Drawing()
    column = {name: GUTTER + PITCH // 2 + PITCH * i for i, name in enumerate(pipeline.stages)}
    lanes_to = LANES_FROM + LANE * (len(pipeline.tensors) - 1)
    others = [
        name
        for name in pipeline.configs
        if name not in (ENSEMBLE, *pipeline.stages, *pipeline.inner)
    ]
    bottom = lanes_to + 30
    height = bottom + 44 * len(others) + 52
    _draw_callers(picture)
    picture.box(16, TOP, WIDTH - 32, height - TOP - 16, "paper")
    picture.text(32, TOP + 24, "Triton", "title")
    picture.text(32, TOP + 46, "ensemble", "soft")
    picture.text(32, TOP + 63, ENSEMBLE, "tensor")
    for name, stages in pipeline.inner.items():
        cached = pipeline.configs[name].response_cache.enable
        left = column[stages[0]] - PITCH // 2 + 4
        width = PITCH * len(stages) - 8
        picture.box(left, TOP + 14, width, lanes_to - TOP + 6, "cache" if cached else "card")
        note = f"{name}: response cache, key = the file" if cached else name
        picture.text(left + width // 2, TOP + 31, note, "soft", "middle")
    for name, x in column.items():
        picture.line(x, TOP + 40 + HEADER, x, lanes_to + 10, "life")
        picture.box(x - PITCH // 2 + 8, TOP + 40, PITCH - 16, HEADER)
        picture.text(x, TOP + 64, name, "stage", "middle")
        picture.text(x, TOP + 82, WORDS[name], "soft", "middle")
    for i, tensor in enumerate(pipeline.tensors):
        _draw_lane(picture, tensor, LANES_FROM + LANE * i, column)
    for i, name in enumerate(others):
        _draw_other(picture, name, bottom + 44 * i, pipeline, column)
    _draw_legend(picture, height - 30)
    body = "\n".join(picture.lines)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-labelledby="title">\n'
        '<title id="title">Callers, the gateway, and the stages in Triton with the tensors that '
        "go between them</title>\n"
        f"<style>{STYLE}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" rx="12" class="paper"/>\n{body}\n</svg>\n'
    )


def _draw_callers(picture: Drawing) -> None:
    gateway, direct = 502, 898
    for x, width, title, words in (
        (32, 260, "REST", "the page at /, curl, PaddleX's clients"),
        (368, 268, "gateway  :8080", "JSON ⇄ tensors, limits, queue, tokens"),
        (756, 284, "gRPC", "Python, Go, … and ovseg_client"),
    ):
        picture.box(x, 24, width, 52)
        picture.text(x + width // 2, 46, title, "title", "middle")
        picture.text(x + width // 2, 64, words, "soft", "middle")
    picture.line(292, 50, 360, 50, "flow")
    picture.head(368, 50, "flow-head")
    for x, words in ((gateway, "gRPC :8001"), (direct, ":8001")):
        picture.line(x, 76, x, TOP - 8, "flow")
        picture.head(x, TOP, "flow-head", down=True)
        picture.text(x + 10, 104, words, "soft")


def _draw_lane(picture: Drawing, tensor: Tensor, y: int, column: dict[str, int]) -> None:
    kind = "in" if tensor.maker is None else "out" if tensor.output else "between"
    start = column[tensor.maker] if tensor.maker else GUTTER - 22
    right = GUTTER + PITCH * len(column) + 8
    ends = [column[name] for name in tensor.takers]
    end = right if tensor.output else max(ends, default=start)
    picture.line(start, y, end - 5, y, kind, tensor.optional)
    for x in ends:
        picture.head(x, y, f"{kind}-fill")
    if tensor.output:
        picture.head(right, y, f"{kind}-fill")
        picture.text(right + 8, y + 4, tensor.name, "tensor")
    if tensor.maker:
        picture.ring(start, y, kind)
    if tensor.maker is None:
        picture.text(32, y + 4, tensor.name, "tensor")
        picture.text(start - 6, y + 4, tensor.shape.replace(", ", ","), "type", "end")
    elif not tensor.output:
        picture.text(start + 9, y - 4, tensor.name, "tensor")
    else:
        picture.text(start + 9, y - 4, tensor.shape, "type")


def _draw_other(
    picture: Drawing, name: str, y: int, pipeline: Pipeline, column: dict[str, int]
) -> None:
    """A model beside the ensemble, with an arrow at each stage that its configuration calls."""
    picture.text(32, y + 6, name, "title")
    picture.text(32, y + 22, WORDS[name], "soft")
    named = {parameter.string_value for parameter in pipeline.configs[name].parameters.values()}
    inside = {stage for inner in named for stage in pipeline.inner.get(inner, ())}
    called = [stage for stage in pipeline.stages if stage in named | inside]
    if not called:
        return
    right = max(column[stage] for stage in called)
    picture.line(GUTTER - 22, y, right, y, "also")
    for stage in called:
        x = column[stage]
        picture.line(x, y, x, y - 8, "also")
        picture.lines.append(f'<path d="M{x} {y - 14}l-4 8h8z" class="also-fill"/>')


def _draw_legend(picture: Drawing, y: int) -> None:
    for x, kind, words in (
        (32, "in", "a caller sends it (dashed: optional)"),
        (290, "between", "between stages"),
        (440, "out", "a caller may ask for it; a stage nobody needs does not run"),
        (814, "also", "calls stages, through their queues"),
    ):
        picture.line(x, y - 4, x + 22, y - 4, kind)
        picture.text(x + 28, y, words, "soft")


def main() -> None:
    """Write the picture."""
    PICTURE.write_text(draw(read_pipeline()), "utf-8")


if __name__ == "__main__":
    main()
