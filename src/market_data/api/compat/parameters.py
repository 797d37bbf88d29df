"""Parameters and operations that the foreign protocols have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIHeader, OpenAPIResponse, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import QueryParameter

from market_data.api.http.openapi import response
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.trade_validation import SYMBOL, shown

T = TypeVar("T")

MAX_NUMBER_LENGTH = 19


def query(name: str, description: str, example: str | None = None) -> Any:
    """Describe an optional query parameter, which its handler reads as text."""
    examples = [Example(value=example)] if example else None
    return QueryParameter(name=name, required=False, description=description, examples=examples)


def bad_parameter(name: str, detail: str) -> BadParameters:
    """Return the error of one parameter."""
    return BadParameters([ParameterProblem(name, detail)])


def read_parameter(name: str, text: str, read: Callable[[str], T]) -> T:
    """Return the value of a text.

    Raises:
        BadParameters: `read` has raised ValueError, with the remedy.
    """
    try:
        return read(text)
    except ValueError as error:
        raise bad_parameter(name, str(error)) from None


def read_number(name: str, text: str | None, default: int, highest: int, *, lowest: int = 1) -> int:
    """Return a whole number within bounds; the default without a text.

    Raises:
        BadParameters: It is something else.
    """
    if text is None:
        return default
    digits = text.removeprefix("-") if lowest < 0 else text
    if not (digits.isascii() and digits.isdigit() and len(digits) <= MAX_NUMBER_LENGTH and lowest <= int(text) <= highest):
        raise bad_parameter(name, f"must be a whole number from {lowest} to {highest}, not {shown(text)}")
    return int(text)


def known_form(text: str) -> str | None:
    """Return a symbol in upper case; None if the text can't be one."""
    return text.upper() if SYMBOL.fullmatch(text) else None


def foreign_responses(kind: Any, description: str) -> dict[int, ResponseSpec]:
    """Return the `responses` of a handler. Errors have the form of the protocol, which its tag describes."""
    return {200: response(kind, description)}


@dataclass
class ForeignOperation(Operation):
    """An operation whose errors are described once, by the tag of its protocol."""

    def __post_init__(self) -> None:
        """Leave only the successful response and one for all errors."""
        self.parameters = self.parameters or []
        responses = self.responses or {}
        self.responses = {status: each for status, each in responses.items() if status == "200"}
        for each in self.responses.values():
            if isinstance(each, OpenAPIResponse):
                each.headers = {"Cache-Control": OpenAPIHeader(description="`no-store`.", schema=_TEXT)}
        self.responses["default"] = OpenAPIResponse(description="An error in the form of the protocol.")


_TEXT = Schema(type=OpenAPIType.STRING)
