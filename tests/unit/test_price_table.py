"""Rendering of the table of live prices."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Literal

from rich.console import Console

from market_data.cli.operate.price_table import PriceTable, Trade

NOW = datetime(2026, 2, 8, 10, 30, tzinfo=UTC)


def trade(symbol: str, price: str, seconds: float = 0, volume: str = "1") -> Trade:
    return Trade(symbol, Decimal(price), Decimal(volume), NOW + timedelta(seconds=seconds))


def change(
    kind: Literal["corrected", "cancelled"], price: str, seconds: float = 0, *, latest: Trade | None, trade_id: int = 0
) -> Trade:
    changed = trade("AAPL", price, seconds)
    return Trade("AAPL", changed.price, changed.volume, changed.timestamp, trade_id, kind, latest)


def rendered(table: PriceTable, height: int = 24, *, styled: bool = False) -> list[str]:
    """Return the lines of the table half a minute after NOW."""
    console = Console(
        file=StringIO(), width=100, height=height, force_terminal=styled, color_system="standard" if styled else None
    )
    with console.capture() as capture:
        console.print(table.render(height, NOW + timedelta(seconds=30)))
    return [line.rstrip() for line in capture.get().splitlines()]


def rows(table: PriceTable, height: int = 24) -> list[list[str]]:
    return [line.split() for line in rendered(table, height)[3:]]


def test_a_symbol_shows_its_price_change_volume_and_number_of_trades():
    table = PriceTable("http://here", [])
    table.set_prices([trade("AAPL", "200.00", -100)])
    table.add_trade(trade("AAPL", "201.5", 1, "3"))
    table.add_trade(trade("AAPL", "199", 2, "2.5"))
    assert rows(table) == [["AAPL", "199.00", "-1.00", "-0.50", "5.5", "2", "28", "s", "ago"]]


def test_a_late_trade_is_counted_but_does_not_change_the_price():
    table = PriceTable("http://here", [])
    table.add_trade(trade("AAPL", "200", 1))
    table.add_trade(trade("AAPL", "100", 0))
    assert rows(table)[0][:6] == ["AAPL", "200", "+0", "+0.00", "2", "2"]


def test_prices_read_again_replace_all_and_keep_the_totals():
    table = PriceTable("http://here", [])
    for symbol in ("AAPL", "GONE"):
        table.add_trade(trade(symbol, "200", 1))
    table.set_prices([trade("AAPL", "100", 0), trade("MSFT", "7", 0)])
    assert [row[:6] for row in rows(table)] == [
        ["AAPL", "100", "-100", "-50.00", "1", "1"],
        ["MSFT", "7", "+0", "+0.00", "0", "0"],
    ]


def test_cancelled_latest_trade_restores_the_price_before_it():
    table = PriceTable("http://here", [])
    table.set_prices([trade("AAPL", "100", -9)])
    table.add_trade(trade("AAPL", "200"))
    table.add_trade(change("cancelled", "200", latest=trade("AAPL", "100", -9)))
    assert rows(table)[0][:6] == ["AAPL", "100", "+0", "+0.00", "1", "1"]


def test_corrected_and_cancelled_first_trade_is_not_the_reference_any_more():
    table = PriceTable("http://here", [])
    table.set_prices([trade("AAPL", "200")])
    table.add_trade(change("corrected", "50", latest=trade("AAPL", "50")))
    assert rows(table)[0][:4] == ["AAPL", "50", "+0", "+0.00"]
    table.add_trade(trade("AAPL", "60", 1))
    table.add_trade(change("cancelled", "50", latest=trade("AAPL", "60", 1)))
    assert rows(table)[0][:4] == ["AAPL", "60", "+0", "+0.00"]


def test_changed_trade_that_is_not_the_latest_leaves_price_and_reference():
    table = PriceTable("http://here", [])
    table.add_trade(Trade("AAPL", Decimal(100), Decimal(1), NOW, trade_id=1))
    table.add_trade(trade("AAPL", "110", 1))
    table.add_trade(change("cancelled", "100", latest=trade("AAPL", "110", 1), trade_id=2))
    assert rows(table)[0][:4] == ["AAPL", "110", "+10", "+10.00"]


def test_symbol_without_a_trade_left_has_no_price():
    table = PriceTable("http://here", ["AAPL"])
    table.add_trade(trade("AAPL", "200"))
    table.add_trade(change("cancelled", "200", latest=None))
    assert rows(table) == [["AAPL", "-", "none", "yet"]]


def test_higher_id_is_later_at_the_same_time():
    table = PriceTable("http://here", [])
    for price, trade_id in (("1", 4), ("2", 5), ("3", 3)):
        table.add_trade(Trade("AAPL", Decimal(price), Decimal(1), NOW, trade_id))
    assert rows(table)[0][:2] == ["AAPL", "2"]


def test_most_recently_traded_symbols_come_first_as_many_as_fit():
    table = PriceTable("http://here", [])
    for number in range(1_200):
        table.add_trade(trade(f"S{number}", "1", number))
    lines = rendered(table, 10)
    assert len(lines) <= 10
    assert [line.split()[0] for line in lines[3:-1]] == ["S1199", "S1198", "S1197", "S1196", "S1195", "S1194"]
    assert lines[-1] == "and 1,194 more, traded before these"


def test_chosen_symbols_keep_their_order_and_are_shown_without_trades():
    table = PriceTable("http://here", ["MSFT", "AAPL"])
    table.add_trade(trade("AAPL", "5", 1))
    assert [row[0] for row in rows(table)] == ["MSFT", "AAPL"]
    assert rows(table)[0] == ["MSFT", "-", "none", "yet"]


def test_a_lost_connection_is_shown_with_its_start_and_dims_the_prices():
    table = PriceTable("http://here", [])
    table.add_trade(trade("AAPL", "5", 1))
    assert rendered(table)[0].startswith("live  http://here  watching since ")
    assert "\x1b[2m" not in rendered(table, styled=True)[-1]
    table.set_disconnected("Connection refused")
    first = rendered(table)[0]
    table.set_disconnected("no answer in time")
    assert first.startswith("reconnecting since ")
    assert first.endswith(": Connection refused  http://here")
    assert rendered(table)[0] == first.replace("Connection refused", "no answer in time")
    assert "\x1b[2m" in rendered(table, styled=True)[-1]
    table.set_connected()
    assert rendered(table)[0].startswith("live")


def test_missed_trades_are_reported():
    table = PriceTable("http://here", [])
    table.report_gap("older than an hour")
    assert rendered(table)[0].endswith("trades were missed: older than an hour")


def test_change_has_no_percentage_if_the_first_price_is_not_positive():
    table = PriceTable("http://x", [])
    for symbol, price in (("ZERO", "0"), ("BELOW", "-37.63")):
        table.set_prices([trade(symbol, price)])
        table.add_trade(trade(symbol, "2.00", 1))
        assert rows(table)[0][:4] == [symbol, "2.00", f"{2 - Decimal(price):+,.2f}", "-"]
    table.set_prices([trade("CL", "10.01")])
    table.add_trade(trade("CL", "-37.63", 1))
    assert rows(table)[0][:4] == ["CL", "-37.63", "-47.64", "-475.92"]


def test_symbols_are_not_read_as_markup():
    table = PriceTable("http://x", ["X:HEART:Y", "ES 03-26"])
    table.set_prices([trade("X:HEART:Y", "1")])
    assert [line[:9] for line in rendered(table)[3:]] == ["X:HEART:Y", "ES 03-26 "]
