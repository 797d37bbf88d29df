"""The table of live prices, as it is drawn."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO

from rich.console import Console

from market_data.cli.operate.price_table import Board, Trade

NOW = datetime(2026, 2, 8, 10, 30, tzinfo=UTC)


def trade(symbol: str, price: str, seconds: float = 0, volume: str = "1") -> Trade:
    return Trade(symbol, Decimal(price), Decimal(volume), NOW + timedelta(seconds=seconds))


def drawn(board: Board, height: int = 24, *, styled: bool = False) -> list[str]:
    """Its lines, half a minute later."""
    console = Console(
        file=StringIO(), width=100, height=height, force_terminal=styled, color_system="standard" if styled else None
    )
    with console.capture() as capture:
        console.print(board.draw(height, NOW + timedelta(seconds=30)))
    return [line.rstrip() for line in capture.get().splitlines()]


def rows(board: Board, height: int = 24) -> list[list[str]]:
    return [line.split() for line in drawn(board, height)[3:]]


def test_a_symbol_shows_its_price_its_change_and_what_was_seen_of_it():
    board = Board("http://here", [])
    board.start_from([trade("AAPL", "200.00", -100)])
    board.add(trade("AAPL", "201.5", 1, "3"))
    board.add(trade("AAPL", "199", 2, "2.5"))
    assert rows(board) == [["AAPL", "199.00", "-1.00", "-0.50", "5.5", "2", "28", "s", "ago"]]


def test_a_late_trade_is_counted_but_is_no_price():
    board = Board("http://here", [])
    board.add(trade("AAPL", "200", 1))
    board.add(trade("AAPL", "100", 0))
    assert rows(board)[0][:6] == ["AAPL", "200", "+0", "+0.00", "2", "2"]


def test_prices_read_late_do_not_undo_trades():
    board = Board("http://here", [])
    board.add(trade("AAPL", "200", 1))
    board.start_from([trade("AAPL", "100", 0), trade("MSFT", "7", 0)])
    assert [row[:2] for row in rows(board)] == [["AAPL", "200"], ["MSFT", "7"]]


def test_of_all_the_last_traded_come_first_as_many_as_fit():
    board = Board("http://here", [])
    for number in range(1_200):
        board.add(trade(f"S{number}", "1", number))
    lines = drawn(board, 10)
    assert len(lines) <= 10
    assert [line.split()[0] for line in lines[3:-1]] == ["S1199", "S1198", "S1197", "S1196", "S1195", "S1194"]
    assert lines[-1] == "and 1,194 more, traded before these"


def test_chosen_symbols_keep_their_order_and_show_that_they_have_no_trade():
    board = Board("http://here", ["MSFT", "AAPL"])
    board.add(trade("AAPL", "5", 1))
    assert [row[0] for row in rows(board)] == ["MSFT", "AAPL"]
    assert rows(board)[0] == ["MSFT", "-", "none", "yet"]


def test_a_loss_is_told_since_its_beginning_and_greys_the_prices_out():
    board = Board("http://here", [])
    board.add(trade("AAPL", "5", 1))
    assert drawn(board)[0].startswith("live  http://here  watching since ")
    assert "\x1b[2m" not in drawn(board, styled=True)[-1]
    board.lose("Connection refused")
    first = drawn(board)[0]
    board.lose("no answer in time")
    assert first.startswith("reconnecting since ")
    assert first.endswith(": Connection refused  http://here")
    assert drawn(board)[0] == first.replace("Connection refused", "no answer in time")
    assert "\x1b[2m" in drawn(board, styled=True)[-1]
    board.find()
    assert drawn(board)[0].startswith("live")


def test_missed_trades_are_told():
    board = Board("http://here", [])
    board.miss("older than an hour")
    assert drawn(board)[0].endswith("trades were missed: older than an hour")
