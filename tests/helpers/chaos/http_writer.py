"""Random writes over HTTP."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from helpers.api_keys import bearer
from helpers.chaos.model import Change, TradeKey, Values
from helpers.chaos.writers import AGES, BULK, Writer


class HttpWriter(Writer):
    """A client of `POST /trades`, `/trades/correct` and `/trades/cancel`."""

    def __init__(self, *args: Any, address: str, key: str) -> None:
        super().__init__(*args)
        self._client = httpx.Client(base_url=address, headers=bearer(key), timeout=10)

    def run(self) -> None:
        with self._client:
            super().run()

    def write(self) -> None:
        kind, known = self.random.random(), self.known_trade()
        if known is None or kind < 0.45:
            self._store(self.new_trades(self.random.choice([1, 1, 5, 40])))
        elif kind < 0.6:
            self._correct(known)
        elif kind < 0.75:
            self._cancel(known)
        elif kind < 0.82:
            self._store({key: self.model.trades[key] for key in {known, *self.recent_trades()[-5:]}})
        elif kind < 0.88:
            self._contradict(known)
        elif kind < 0.92:
            self._store_cancelled()
        elif kind < 0.97:
            self._store_dropped()
        else:
            self._store(self.new_trades(BULK, self.random.choice([age for age in AGES[4:] if self.retention.allows(age)])))

    def _store(self, trades: dict[TradeKey, Values]) -> None:
        body = [body_of(*trade) for trade in trades.items()]
        partial = self.random.choice(["true", "false"])
        answer = self._send(f"/trades?partial={partial}", body if len(body) > 1 else body[0], 200)
        assert answer["received"] == answer["stored"] + answer["existing"] == len(trades), answer
        self.model.store(trades)
        oldest = min(key.time for key in trades)
        self.log(self.name, f"stored {len(trades)} from {oldest}: {answer['stored']} new")

    def _correct(self, trade: TradeKey) -> None:
        values = self.new_values()
        answer = self._send("/trades/correct", {**body_of(trade, values), "reason": self.name}, 200)
        self.model.correct(trade, values)
        self._note_change(answer, "correct", trade)

    def _cancel(self, trade: TradeKey) -> None:
        answer = self._send("/trades/cancel", {**body_of(trade), "reason": self.name}, 200)
        self.model.cancel(trade)
        self._note_change(answer, "cancel", trade)

    def _note_change(self, answer: dict[str, Any], action: str, trade: TradeKey) -> None:
        if answer["id"] is not None:
            self.model.changes.append(Change(answer["id"], action, trade))
        self.log(self.name, f"{action} {trade}: {answer['changed']}")

    def _contradict(self, trade: TradeKey) -> None:
        """Store a known trade with another price, which is rejected."""
        price, volume = self.model.trades[trade]
        self._send("/trades", body_of(trade, Values(price + 1, volume)), 409)
        self.log(self.name, f"rejected another price of {trade}")

    def _store_cancelled(self) -> None:
        """Store a cancelled trade again, which is rejected."""
        allowed = [each for each in self.model.cancelled if self.retention.allows(datetime.now(UTC) - each.time)]
        if allowed:
            trade = self.random.choice(allowed)
            self._send("/trades", body_of(trade, self.model.cancelled[trade]), 409)
            self.log(self.name, f"rejected the cancelled {trade}")

    def _store_dropped(self) -> None:
        """Store a trade before the retention horizon, which is rejected."""
        age = self.retention.keep + 2 * self.retention.margin
        if age < AGES[-1]:
            (trade,) = self.new_trades(1, timedelta(0)).items()
            key, values = trade
            self._send("/trades", body_of(key._replace(time=key.time - age), values), 400)
            self.log(self.name, f"rejected a trade before the horizon, {age} old")

    def _send(self, path: str, body: Any, expected: int) -> dict[str, Any]:
        """Repeat a request until it is answered otherwise than with 503, and return the answer."""
        content, headers = json.dumps(body), {"Content-Type": "application/json"}
        answers: list[httpx.Response] = []

        def attempt(_: int) -> bool:
            try:
                response = self._client.post(path, content=content, headers=headers)
            except httpx.TransportError as error:
                self.repeated[type(error).__name__] += 1
                return False
            if response.status_code == 503:
                self.repeated["503"] += 1
                return False
            assert response.status_code == expected, f"{path} {content[:300]}: {response.status_code} {response.text}"
            answers.append(response)
            return True

        self.repeat(attempt)
        return answers[0].json()


def body_of(trade: TradeKey, values: Values | None = None) -> dict[str, Any]:
    """Return the body of a request for a trade, with values or with the key alone."""
    body = {"symbol": trade.symbol, "timestamp": trade.time.isoformat(), "trade_id": trade.trade_id}
    return body if values is None else {**body, "price": str(values.price), "volume": str(values.volume)}
