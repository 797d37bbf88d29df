"""The OpenAPI document with named schemas for bodies and choices, from which generated clients take names of their types.

Litestar names the schemas of responses, and writes all others where they are used: openapi-python-client then refuses
`POST /trades`, and calls an interval `GetCandlesInterval.VALUE_3`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

import msgspec
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import OpenAPI, Reference

from market_data.models_actions import ActionCancelIn, ActionCorrectIn, ActionIn
from market_data.models_writes import CancelIn, CorrectIn, RenameIn, SymbolChangeIn, SymbolIn, TradeIn

BODIES: Final[Mapping[type[msgspec.Struct], Mapping[str, Any]]] = {
    TradeIn: {},
    CancelIn: {},
    CorrectIn: {"minProperties": 4},
    SymbolIn: {},
    SymbolChangeIn: {"minProperties": 1},
    RenameIn: {},
    ActionIn: {"minProperties": 4},
    ActionCancelIn: {},
    ActionCorrectIn: {"minProperties": 3},
}
"""Structs of bodies, with more keywords of their schemas."""

PREFIX: Final = "#/components/schemas/"

UNITS: Final = {"s": "SECOND", "m": "MINUTE", "h": "HOUR", "d": "DAY", "w": "WEEK", "M": "MONTH"}


def reference_to(kind: type[msgspec.Struct]) -> Reference:
    """Return a reference to the schema of a body."""
    assert kind in BODIES  # noqa: S101 (an error of the programmer, when the module of the handler is imported)
    return Reference(f"{PREFIX}{kind.__name__}")


class Document(OpenAPI):
    """The OpenAPI document."""

    def to_schema(self) -> dict[str, Any]:
        """Return the document as JSON has it."""
        document = super().to_schema()
        schemas: dict[str, Any] = document["components"]["schemas"]
        schemas.update(_bodies())
        for parameter in _parameters(document):
            schema = parameter["schema"]
            schema.pop("default", None)
            if "enum" in schema:
                schemas[schema["title"]] = _choice(schema)
                parameter["schema"] = {"$ref": PREFIX + schema["title"]}
        for schema in schemas.values():
            for field in schema.get("properties", {}).values():
                field.pop("default", None)
                # A list that may be absent, for which ReDoc cannot make an example.
                if len(only := field.get("oneOf", ())) == 1 and only[0].get("type") == "array":
                    field.update(field.pop("oneOf")[0])
        document["components"]["schemas"] = dict(sorted(schemas.items()))
        # Litestar keeps the paths of a handler in a set, whose order differs between processes.
        document["paths"] = dict(sorted(document["paths"].items()))
        return document


class DocumentConfig(OpenAPIConfig):
    """The configuration of that document."""

    def to_openapi_schema(self) -> OpenAPI:
        """Return the document without its paths."""
        plain = super().to_openapi_schema()
        return Document(**{field.name: getattr(plain, field.name) for field in fields(plain)})


def _bodies() -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components(BODIES, ref_template=f"{PREFIX}{{name}}")
    for kind, more in BODIES.items():
        schema = schemas[kind.__name__]
        schema.update(more)
        if not schema["required"]:
            del schema["required"]
        for field in schema["properties"].values():
            for each in (field, *field.get("anyOf", ())):
                if each.get("format") == "decimal":  # msgspec's schema for a Decimal is that of a string
                    each.update(type="number", format="double")
    return schemas


def _parameters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        for operation in methods.values():
            yield from operation["parameters"]


def _choice(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the named schema of a choice; `x-enum-varnames` names values that are no identifiers, as `1m`."""
    named = {name: schema[name] for name in ("type", "title", "enum")}
    values: list[str] = schema["enum"]
    if not all(value.isidentifier() for value in values):
        named["x-enum-varnames"] = [f"{UNITS[value[-1]]}_{value[:-1]}" for value in values]
    return named
