"""Random actions of a user, writers, the network and the clock, around one page."""

import random
import re
from datetime import timedelta

from browser.dashboard.market import Market, now
from helpers.support import Connection
from helpers.tcp_proxy import Proxy
from playwright.sync_api import Page, Route

SYMBOLS = ("AAPL", "MSFT", "TSLA", "ZED")
INTERVALS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w")
READS = re.compile(r":\d+/(candles|trades|snapshots)\?")


def _abort(route: Route) -> None:
    route.abort()


class RandomSession:
    """Acts on a page and knows which symbol and interval it should show."""

    def __init__(self, seed: int, page: Page, proxy: Proxy, market: Market, connection: Connection) -> None:
        self._choose = random.Random(seed)
        self._page = page
        self._proxy = proxy
        self._market = market
        self._connection = connection
        self.symbol = SYMBOLS[0]
        self.interval = INTERVALS[0]
        self.actions: list[str] = []

    def act(self) -> None:
        """Do something random."""
        kinds = {self._write: 10, self._select: 5, self._break_network: 1, self._repair: 1, self._jump: 1}
        (kind,) = self._choose.choices(list(kinds), list(kinds.values()))
        kind()

    def end(self) -> None:
        """Repair everything, and let the page's next attempts begin."""
        self._repair()
        self._market.refresh()
        for _ in range(4):
            self._page.clock.fast_forward(10_000)

    def _log(self, *action: object) -> None:
        self.actions.append(" ".join(map(str, action)))

    def _write(self) -> None:
        market, choose = self._market, self._choose
        symbol, price = choose.choice(SYMBOLS), str(choose.randint(1, 999_999))
        write = choose.choice(["store"] * 4 + ["late", "correct", "cancel", "cancel latest", "move", "import"])
        known = self._prices_of(symbol)
        ago = timedelta(minutes=choose.choice([1, 20, 300, 1600]) * choose.random())
        if not known:
            write = "store"
        self._log(write, symbol, price)
        if write == "store":
            market.trade(price, symbol=symbol)
        elif write == "late":
            market.trade(price, at=now() - ago, symbol=symbol)
        elif write == "import":
            market.import_trades(price, [now() - ago], symbol)
        elif write == "correct":
            market.correct(choose.choice(known), price)
        elif write == "move":
            moved = "UPDATE trades SET time = time + %s WHERE price = %s"
            self._connection.execute(moved, (choose.choice([timedelta(seconds=2), -ago]), choose.choice(known)))
        else:
            market.cancel(known[0] if write == "cancel latest" else choose.choice(known))
        if choose.random() < 0.5:
            market.refresh()

    def _prices_of(self, symbol: str) -> list[str]:
        query = "SELECT price FROM trades WHERE symbol = %s ORDER BY time DESC"
        return [str(price) for (price,) in self._connection.execute(query, (symbol,)).fetchall()]

    def _select(self) -> None:
        page, choose = self._page, self._choose
        way = choose.choice(["row", "arrow", "held arrow", "button", "digit"])
        if way == "row":
            self.symbol = choose.choice(SYMBOLS)
            page.locator(f"#row-{self.symbol}").click()
        elif way.endswith("arrow"):
            self._press_arrow(1 if way == "arrow" else choose.randint(2, 6))
        else:
            self.interval = choose.choice(INTERVALS)
            if way == "button":
                page.locator(f"#intervals [data-interval='{self.interval}']").click()
            else:
                page.keyboard.press(str(INTERVALS.index(self.interval) + 1))
        self._log("select", self.symbol, self.interval, "by", way)

    def _press_arrow(self, repetitions: int) -> None:
        page = self._page
        key, step = self._choose.choice([("ArrowUp", -1), ("ArrowDown", 1)])
        page.locator("#watch-list").focus()
        for _ in range(repetitions):
            page.keyboard.down(key)
            self.symbol = SYMBOLS[max(0, min(len(SYMBOLS) - 1, SYMBOLS.index(self.symbol) + step))]
        page.keyboard.up(key)

    def _break_network(self) -> None:
        fault = self._choose.choice(["cut", "stall", "fail reads"])
        self._log(fault)
        if fault == "cut":
            self._proxy.cut()
        elif fault == "stall":
            self._proxy.stall()
        else:
            self._page.route(READS, _abort)

    def _repair(self) -> None:
        self._log("repair")
        self._proxy.restore()
        self._page.unroute_all()

    def _jump(self) -> None:
        minutes = self._choose.choice([-60, -1, 1, 60])
        seconds = self._choose.choice([1, 5, 15, 40])
        self._log("set the wall clock", minutes, "minutes; wait", seconds, "seconds")
        self._page.clock.set_system_time(now() + timedelta(minutes=minutes))
        self._page.clock.fast_forward(1000 * seconds)
