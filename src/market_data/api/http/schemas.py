"""What the OpenAPI document says of the bodies of requests."""

from collections.abc import Mapping
from typing import Any

from litestar.openapi.spec import Example, OpenAPIMediaType, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

from market_data.api.http.bodies import JSON, LINES, MOST_TRADES
from market_data.api.http.readers import SYMBOL_FORM

TIME_FORM = r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,18})?([Zz]|[+-]\d\d(:?\d\d)?)$"
PRICE_FORM = r"^[+]?0*(?=[0.]*[1-9])(\d{1,30}(\.\d{0,30}0*)?|\.\d{1,30}0*)$"
VOLUME_FORM = r"^[+-]?0*(\d{0,30}(\.\d{0,30}0*)?)$"
WHOLE_FORM = r"^[+-]?\d{1,4000}$"


def _number(description: str, form: str, **limits: float) -> Schema:
    return Schema(
        description=f"{description} A number without an exponent, or a string of its digits; stored exactly as written.",
        one_of=[
            Schema(type=OpenAPIType.NUMBER, **limits),  # pyright: ignore[reportArgumentType]  # no other keys than these are given
            Schema(type=OpenAPIType.STRING, pattern=form),
        ],
        examples=[189.44],
    )


FIELDS: Mapping[str, Schema] = {
    "symbol": Schema(
        type=OpenAPIType.STRING,
        pattern=f"^{SYMBOL_FORM.pattern}$",
        description="What was traded, in upper or lower case.",
        examples=["AAPL"],
    ),
    "price": _number("Price of one unit: greater than 0, less than 1e30.", PRICE_FORM, exclusive_minimum=0),
    "volume": _number("Units traded: 0 or more, less than 1e30.", VOLUME_FORM, minimum=0),
    "timestamp": Schema(
        type=OpenAPIType.STRING,
        pattern=TIME_FORM,
        description="When the trade happened: RFC 3339, with a zone. What is beyond the microsecond is cut off.",
        examples=["2026-02-08T10:30:00Z"],
    ),
    "trade_id": Schema(
        description="Tells apart the trades of one symbol in one instant: 64 bits. 0 where it is left out.",
        one_of=[
            Schema(type=OpenAPIType.INTEGER, minimum=-(2**63), maximum=2**63 - 1),
            Schema(type=OpenAPIType.STRING, pattern=WHOLE_FORM),
        ],
        examples=[1],
    ),
    "reason": Schema(
        type=OpenAPIType.STRING, min_length=1, max_length=500, description="Why; printable.", examples=["fat finger"]
    ),
    "name": Schema(
        type=OpenAPIType.STRING,
        min_length=1,
        max_length=200,
        description="What the symbol stands for; printable.",
        examples=["NVIDIA Corporation"],
    ),
    "active": Schema(
        type=OpenAPIType.BOOLEAN, description="Whether new trades of it are taken, the feed's included.", examples=[False]
    ),
}


def _object(*required: str, optional: tuple[str, ...] = (), least: int | None = None) -> Schema:
    return Schema(
        type=OpenAPIType.OBJECT,
        properties={name: FIELDS[name] for name in (*required, *optional)},
        required=list(required) or None,
        additional_properties=False,
        min_properties=least,
    )


def _body(schema: Schema, example: dict[str, Any]) -> RequestBody:
    return RequestBody(
        required=True, content={JSON[0]: OpenAPIMediaType(schema=schema, examples={"example": Example(value=example)})}
    )


TRADE = {"symbol": "AAPL", "price": 189.44, "volume": 3, "timestamp": "2026-02-08T10:30:00Z", "trade_id": 1}
IDENTITY = {"symbol": "AAPL", "timestamp": "2026-02-08T10:30:00Z", "trade_id": 1}

ONE_TRADE = _object("symbol", "price", "volume", "timestamp", optional=("trade_id",))
TRADES_BODY = RequestBody(
    required=True,
    description="Trades. Fields that are not known are refused.",
    content={
        JSON[0]: OpenAPIMediaType(
            schema=Schema(
                one_of=[ONE_TRADE, Schema(type=OpenAPIType.ARRAY, items=ONE_TRADE, min_items=1, max_items=MOST_TRADES)]
            ),
            examples={
                "one": Example(summary="One trade", value=TRADE),
                "list": Example(summary="A list", value=[TRADE, TRADE | {"price": 189.5, "trade_id": 2}]),
            },
        ),
        LINES[0]: OpenAPIMediaType(
            schema=Schema(type=OpenAPIType.STRING, description="A trade a line, each as in JSON."),
            examples={
                "lines": Example(
                    summary="A trade a line",
                    value='{"symbol":"AAPL","price":189.44,"volume":3,"timestamp":"2026-02-08T10:30:00Z","trade_id":1}\n'
                    '{"symbol":"AAPL","price":189.5,"volume":3,"timestamp":"2026-02-08T10:30:00Z","trade_id":2}\n',
                )
            },
        ),
    },
)
CANCEL_BODY = _body(
    _object("symbol", "timestamp", "reason", optional=("trade_id",)), IDENTITY | {"reason": "reported twice"}
)
CORRECT_BODY = _body(
    _object("symbol", "timestamp", "reason", optional=("trade_id", "price", "volume"), least=4),
    IDENTITY | {"price": 189.5, "reason": "fat finger"},
)
NEW_SYMBOL_BODY = _body(_object("symbol", "name"), {"symbol": "NVDA", "name": "NVIDIA Corporation"})
SYMBOL_BODY = _body(_object(optional=("name", "active"), least=1), {"active": False})
