"""A market on which the API trades on paper: judgments, minutes, the market's clock, and somebody who asks."""

from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.deps import Deps
from app.domain.market.market_clock import MarketClock
from app.host import market_clock_file
from tests.app.domain.strategies.v3.readings import rising
from tests.app.usecases.judged_market import CLOSE_MS
from tests.app.usecases.paper_market import BTC, MINUTE_MS, PRICE, PaperMarket
from tests.builders import NOW


class Paper(PaperMarket):
    """A market whose clock the test sets, in minutes after the first close."""

    def __init__(self, deps: Deps, client: FlaskClient) -> None:
        super().__init__(deps.engine)
        self._deps, self._client = deps, client

    def clock(self, minute: float) -> None:
        """Let it be so many minutes after the close."""
        path = market_clock_file.path_in(self._deps.settings.state_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        market_ms = CLOSE_MS + round(minute * MINUTE_MS)
        market_clock_file.write(path, MarketClock(int(NOW.timestamp() * 1000), market_ms, 1.0))

    def opened(self) -> int:
        """V3 entered a trade up at 110 in the second minute, and two minutes are over; its id."""
        self.judge(inputs=rising())
        self.minutes(PRICE, PRICE)
        self.trade(2)
        self.clock(2)
        return self.trades()[-1].id

    def stopped(self) -> int:
        """The same, and in the third minute it was stopped; its id."""
        trade_id = self.opened()
        self.minutes((PRICE, PRICE, 108.0, PRICE), begin=2)
        self.trade(3)
        self.clock(3)
        return trade_id

    def ask(self, path: str, *, status: int = 200) -> Any:
        """What GET answers: the data, or the error."""
        return _said(self._client.get(f"/api/v1/{path}"), status)

    def send(self, method: str, path: str, body: Any = None, *, status: int = 200) -> Any:
        """What another method answers: the data, or the error."""
        return _said(self._client.open(f"/api/v1/{path}", method=method, json={} if body is None else body), status)


def _said(answer: TestResponse, status: int) -> Any:
    said = answer.get_json()
    assert answer.status_code == status, said
    return said["error"] if status >= 400 else said["data"]


def order(**changes: Any) -> dict[str, Any]:
    """The body of an order up."""
    usual = {"symbol": BTC, "strategy": "V3", "direction": "LONG", "stop_loss": "108", "take_profit": "120"}
    return usual | changes
