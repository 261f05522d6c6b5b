"""Writes docs/API.md from the gateway's OpenAPI document, model_repository/ and examples/.

.venv/bin/python docs/api/generate.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from ovseg_gateway.app import create_app
from tritonclient.grpc import model_config_pb2

from ovseg.settings import Settings

ROOT = Path(__file__).parents[2]
TEMPLATE = Path(__file__).with_name("template.md")
DOCUMENT = ROOT / "docs" / "API.md"

Schema = dict[str, Any]

_LANGUAGES = {".sh": "bash", ".py": "python", ".mjs": "javascript", ".go": "go", ".java": "java"}
_SOME_TOKEN = "documentation:" + "0" * 64
"""Makes the document say what a server answers that asks for tokens."""

_DESCRIBED_BY_FASTAPI = {"Successful Response": "Yes."}

_TENSORS = {
    "open_vocabulary_segmentation": "Masks for points and boxes.",
    "open-vocabulary-segmentation": "The REST API as a model, for clients of PaddleX's "
    "high-stability serving.",
    "image": "an image file, as in REST",
    "point_coords": "x, y of each point in pixels of the image (EXIF orientation applied)",
    "point_labels": "1 on the object, 0 not on it, 2 and 3 top left and bottom right corner of a "
    "box, -1 none (fills up rows)",
    "mask_input": "`low_res_masks` of an earlier answer about the same image, one for each "
    "prompt, to be refined",
    "multimask": "three candidates for each prompt instead of one",
    "counts": "each mask in COCO's compressed run-length encoding; with `size` what "
    "`pycocotools.mask.decode` takes",
    "size": "height and width of the image",
    "scores": "the model's estimate of each mask's IoU; NaN where it makes none",
    "low_res_masks": "logits of each mask, in SAM's padded square",
    "overlay": "a JPEG file: the image with the masks drawn; only then is it made",
    "input": "a request of the REST API, JSON",
    "output": "its answer, JSON; mistakes are answers too, with their `errorCode`",
}
"""What models and tensors mean, which their configurations do not say."""
_DIMENSIONS = {
    "point_coords": "N, P, 2",
    "point_labels": "N, P",
    "mask_input": "N, 256, 256",
    "counts": "N, M",
    "scores": "N, M",
    "low_res_masks": "N, M, 256, 256",
}
"""Names of sizes that are -1 in the configuration."""


def render() -> str:
    """The document."""
    text = TEMPLATE.read_text("utf-8")
    return re.sub(r"\{\{ (\w+) ?(\S*) \}\}", lambda found: _part(*found.groups()), text)


def _part(kind: str, name: str) -> str:
    if kind == "file":
        path = ROOT / name
        return f"```{_LANGUAGES[path.suffix]}\n{path.read_text('utf-8').strip()}\n```"
    if kind == "operations":
        return _operations()
    if kind == "tensors":
        return _model(name)
    if kind == "stages":
        return _stages()
    raise ValueError(f"the template has an unknown part: {kind}")


# --- REST ------------------------------------------------------------------------------------


def _operations() -> str:
    document = create_app(Settings(token_hashes=_SOME_TOKEN)).openapi()
    parts = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts += _operation(f"{method.upper()} {path}", operation)
    parts.append("### Answers")
    for name, schema in document["components"]["schemas"].items():
        if (table := _table(name, schema)) not in parts:  # Some are shown with the request.
            parts.append(table)
    return "\n\n".join(parts)


def _operation(title: str, operation: Schema) -> list[str]:
    parts = [f"### {title}", operation["description"]]
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        inner = [_table(one["title"], one) for one in _objects(schema)[1:]]
        parts += [_table("Request", schema), *inner, "#### Status codes"]
    rows = []
    for status, answer in sorted(operation["responses"].items()):
        text = answer["description"]
        rows.append((status, _answer_type(answer), _DESCRIBED_BY_FASTAPI.get(text, text)))
    return [*parts, _markdown_table(("status", "answer", "meaning"), rows)]


def _answer_type(answer: Schema) -> str:
    contents = answer.get("content", {})
    types = [
        _type(content["schema"]) if "$ref" in content.get("schema", {}) else kind
        for kind, content in contents.items()
    ]
    return " or ".join(types) or "text"


def _table(name: str, schema: Schema) -> str:
    text = [schema["description"]]
    if schema.get("additionalProperties") is False:
        text.append("Other fields are refused.")
    text += [f"It needs {_alternatives(one['anyOf'])}." for one in schema.get("allOf", ())]
    rows = []
    for field, value in schema["properties"].items():
        meaning = [value.get("description", "")]
        if value.get("default") is not None and "const" not in value:
            meaning.append(f"Default: `{json.dumps(value['default'])}`.")
        rows.append((f"`{field}`", _type(value), " ".join(filter(None, meaning))))
    return "\n\n".join(
        [f"#### {name}", " ".join(text), _markdown_table(("field", "type", "meaning"), rows)]
    )


def _alternatives(schemas: list[Schema]) -> str:
    """Sets of fields of which a request has one: "`a` and `b`, or `c`"."""
    texts = []
    for schema in schemas:
        values = schema.get("properties", {})
        fields = [
            f"`{field}` {_type(values[field])}" if field in values else f"`{field}`"
            for field in schema["required"]
        ]
        texts.append(" and ".join(fields))
    return ", or ".join(texts)


def _objects(schema: Schema) -> list[Schema]:
    """The objects with fields of their own in a schema, itself included."""
    found = [schema] if "properties" in schema else []
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", ())]
    if "items" in schema:
        inner.append(schema["items"])
    for one in inner:
        found += _objects(one)
    return found


def _type(schema: Schema) -> str:
    """A schema in few words."""
    if "$ref" in schema:
        return _link(schema["$ref"].rpartition("/")[2])
    if "properties" in schema:
        return _link(schema["title"])
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one != {"type": "null"})
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if schema["type"] == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(map(_type, schema['prefixItems']))}]"
        if schema.get("minItems") and schema["minItems"] == schema.get("maxItems"):
            return f"[{', '.join([_type(schema['items'])] * schema['minItems'])}]"
        return f"[{_type(schema['items'])}, …]"
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['type']}, {schema['minimum']:.10g} to {schema['maximum']:.10g}"
    return str(schema["type"])


def _link(name: str) -> str:
    return f"[{name}](#{name.lower()})"


# --- gRPC ------------------------------------------------------------------------------------


def _configuration(model: str) -> Any:
    text = (ROOT / "model_repository" / model / "config.pbtxt").read_text("utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def _model(name: str) -> str:
    configuration = _configuration(name)
    tables = [f"### Model `{name}`", _TENSORS[name]]
    for title, tensors in (("input", configuration.input), ("output", configuration.output)):
        rows = [
            (f"`{tensor.name}`", _tensor_type(tensor), _TENSORS[tensor.name]) for tensor in tensors
        ]
        tables.append(_markdown_table((title, "type and shape", "meaning"), rows))
    return "\n\n".join(tables)


def _steps(ensemble: str) -> list[str]:
    return [step.model_name for step in _configuration(ensemble).ensemble_scheduling.step]


def _stages() -> str:
    first, *others = _steps("open_vocabulary_segmentation")
    names = [first, *_steps(first), *others]
    rows = []
    for name in names:
        configuration = _configuration(name)
        inputs, outputs = (
            ", ".join(f"`{tensor.name}` {_tensor_type(tensor)}" for tensor in tensors)
            for tensors in (configuration.input, configuration.output)
        )
        rows.append((f"`{name}`", inputs, outputs))
    return _markdown_table(("model", "inputs", "outputs"), rows)


def _tensor_type(tensor: Any) -> str:
    name = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
    # The configuration calls STRING what the protocol calls BYTES.
    kind = "BYTES" if name == "STRING" else name
    shape = _DIMENSIONS.get(tensor.name) or ", ".join(str(size) for size in tensor.dims)
    return f"{kind} [{shape}]{', optional' if getattr(tensor, 'optional', False) else ''}"


def _markdown_table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines
    )


if __name__ == "__main__":
    DOCUMENT.write_text(render(), "utf-8")
