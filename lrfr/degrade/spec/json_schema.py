"""JSON Schema of the spec language, for editors (``# yaml-language-server: $schema=...``)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from lrfr.degrade.ops.base import Op
from lrfr.degrade.ops.table import OPS
from lrfr.degrade.spec.model import ImageSpec, StoreSpec
from lrfr.degrade.spec.steps import MAX_REPEAT
from lrfr.degrade.values.params import LAW_SCHEMA, License, _Field

_P = {"type": "number", "minimum": 0, "maximum": 1, "description": "probability that the step fires"}
_ID = {
    "type": "string",
    "pattern": "^[A-Za-z0-9_-]{1,64}$",
    "description": "name of the step and of its random stream",
}
_STEPS = {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Step"}}


def spec_schema() -> Mapping[str, object]:
    """Return the schema: every op with its parameters and ranges, every container, every top-level key."""
    ops = [_op_schema(name, op) for name, op in OPS.items()]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lrfr degradation spec",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "version": {"const": 1},
            "name": {"type": "string", "minLength": 1, "maxLength": 100},
            "extends": {"type": "string", "description": "a preset or a file to start from"},
            "set": {
                "type": "object",
                "description": "values to replace, by dotted place: pipeline.d1.size: 14",
            },
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1},
            "license": {
                **License().schema(),
                "description": "terms of use of the faces, for the data card; not part of the digest",
            },
            "variants": {"type": "integer", "minimum": 1, "maximum": 1000},
            "image": _model_schema(ImageSpec),
            "pipeline": _STEPS,
            "store": _model_schema(StoreSpec),
        },
        "anyOf": [{"required": ["version", "pipeline"]}, {"required": ["extends"]}],
        "$defs": {"Distribution": LAW_SCHEMA, "Step": {"anyOf": [*ops, *_containers()]}},
    }


def _model_schema(model: type[ImageSpec] | type[StoreSpec]) -> Mapping[str, object]:
    schema = _plain_schema(model)
    # nothing is required here: defaults depend on the image size, and a spec that extends another may set one
    # key alone
    for part in (schema, *schema["properties"].values()):
        part.pop("required", None)
    return schema


def _op_schema(name: str, op: type[Op]) -> Mapping[str, object]:
    properties: dict[str, object] = {"op": {"const": name}, "id": _ID, "p": _P}
    required = ["op"]
    for field_name, info in op.model_fields.items():
        if field_name == "severity" and not op.severity_range:
            continue
        own = [item for item in info.metadata if isinstance(item, _Field)]
        properties[field_name] = own[0].schema() if own else _plain_schema(info.annotation)
        if info.is_required() and field_name not in op.severity_range:
            required.append(field_name)
    return {
        "title": name,
        "description": inspect.cleandoc(op.__doc__ or ""),
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required,
    }


def _plain_schema(annotation: Any) -> dict[str, Any]:
    schema = TypeAdapter(annotation).json_schema()
    inlined: dict[str, Any] = _inline(schema, schema.pop("$defs", {}))
    return inlined


def _inline(node: Any, definitions: Mapping[str, object]) -> Any:
    """Put definitions in place of references, so that a part can stand anywhere in the whole."""
    if isinstance(node, list):
        return [_inline(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inline(definitions[node["$ref"].removeprefix("#/$defs/")], definitions)
    return {key: _inline(value, definitions) for key, value in node.items()}


def _containers() -> list[Mapping[str, object]]:
    beside: dict[str, Mapping[str, object]] = {
        "one_of": {"weights": {"type": "array", "items": {"type": "number", "minimum": 0}}},
        "some_of": {"n": {"anyOf": [{"type": "integer", "minimum": 0}, {"$ref": "#/$defs/Distribution"}]}},
        "shuffle": {"in_order": {"type": "array", "items": {"type": "string"}, "minItems": 2}},
        "steps": {
            "repeat": {
                "anyOf": [
                    {"type": "integer", "minimum": 1, "maximum": MAX_REPEAT},
                    {"$ref": "#/$defs/Distribution"},
                ]
            }
        },
    }
    common = {"op": {"type": "string", "description": "a label of your choice"}, "id": _ID, "p": _P}
    return [
        {
            "title": kind,
            "type": "object",
            "additionalProperties": False,
            "properties": {**common, kind: _STEPS, **extra},
            "required": [kind, "n"] if kind == "some_of" else [kind],
        }
        for kind, extra in beside.items()
    ]
