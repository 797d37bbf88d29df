"""Numbers as PostgreSQL computes and prints them, so that replayed candles equal those that were sent."""

from decimal import Context, Decimal

EXACT = Context(prec=2000)
"""Sums and products of stored numbers are exact in it."""

MIN_SIGNIFICANT_DIGITS = 16
DIGITS = 4
"""Decimal digits in a digit of `numeric`."""

MIN_EXPONENTIAL, MAX_PLAIN = 1e15, 1e16
"""Numbers in between are printed with an exponent by PostgreSQL, and without by Python."""


def decimal_text(number: Decimal) -> str:
    """Return a `numeric` without trailing zeros."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def quotient(dividend: Decimal, divisor: Decimal) -> float:
    """Return the quotient of two `numeric` numbers, cast to double precision. The divisor is above 0."""
    scale = _quotient_scale(dividend, divisor)
    # Integers, in units of the smaller last digit.
    unit = min(int(dividend.as_tuple().exponent), int(divisor.as_tuple().exponent), 0)
    above, below = int(dividend.scaleb(-unit, EXACT)), int(divisor.scaleb(-unit, EXACT))
    rounded = (2 * abs(above) * 10**scale + below) // (2 * below)
    return float(f"{'-' if above < 0 else ''}{rounded}e-{scale}")


def _quotient_scale(dividend: Decimal, divisor: Decimal) -> int:
    """Return the number of decimals of a quotient (`select_div_scale` in PostgreSQL)."""
    weight, first = _leading_digit(dividend)
    other_weight, other_first = _leading_digit(divisor)
    quotient_weight = weight - other_weight - (first <= other_first)
    scale = MIN_SIGNIFICANT_DIGITS - quotient_weight * DIGITS
    return min(1000, max(0, scale, *(-int(each.as_tuple().exponent) for each in (dividend, divisor))))


def _leading_digit(number: Decimal) -> tuple[int, int]:
    """Return the position and value of the first digit of a `numeric`, in base 10,000."""
    if not number:
        return 0, 0
    adjusted = number.adjusted()
    return adjusted // DIGITS, int(abs(number.scaleb(-(adjusted // DIGITS) * DIGITS, EXACT)))


def float_text(number: float) -> str:
    """Return a double precision number as PostgreSQL prints it."""
    text = repr(number)
    if MIN_EXPONENTIAL <= abs(number) < MAX_PLAIN:
        digits = text.removeprefix("-").removesuffix(".0")
        mantissa = f"{digits[0]}.{digits[1:]}".rstrip("0").rstrip(".")
        return f"{'-' if number < 0 else ''}{mantissa}e+15"
    return text.removesuffix(".0")
