"""The control route of the demo exchange: its state, its faults, its truth, and the load for benches."""

from collections.abc import Callable
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from app.errors import FlotillaError, InvalidInput
from app.exchanges.demo.answers import Answer, Door, Query, whole
from app.exchanges.demo.faults import FaultOrder, Faults, Kind
from app.exchanges.demo.hub import Hub
from app.exchanges.demo.scene import Scene
from app.exchanges.demo.values import VENUES

_LONGEST_LABELS_MS = 31 * 86_400_000
encode = msgspec.json.encode


class LoadOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Each trade of the market is told as so many trades, one message each: ids stay without holes, and volumes stay true."""

    trade_rate: Annotated[int, Meta(ge=1, le=10_000)]


class Control:
    """What ``/demo/...`` answers. Sockets are checked before: only this machine may ask."""

    def __init__(self, scene: Scene, hub: Hub, doors: dict[str, Door], speed: Callable[[], float]) -> None:
        self._scene, self._hub, self._doors, self._speed = scene, hub, doors, speed
        self._faults: Faults = scene.faults

    def answer(self, method: str, path: str, query: Query, body: bytes) -> Answer:
        """One request."""
        routes: dict[tuple[str, str], Callable[[Query, bytes], Any]] = {
            ("GET", "/demo/status"): self._status,
            ("GET", "/demo/labels"): self._labels,
            ("GET", "/demo/faults"): self._reports,
            ("POST", "/demo/faults"): self._begin,
            ("DELETE", "/demo/faults"): self._end,
            ("GET", "/demo/load"): self._load,
            ("POST", "/demo/load"): self._set_load,
        }
        if (method, path) not in routes:
            known = ", ".join(f"{verb} {address}" for verb, address in routes)
            return _refused(404, "There is no such control.", f"Known: {known}.")
        try:
            return Answer(200, encode(routes[method, path](query, body)))
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return _refused(400, f"This order cannot be understood: {error}.", _allowed(path))
        except ValueError:
            return _refused(400, "A parameter is no whole number.", "Times are milliseconds.")
        except FlotillaError as error:
            return _refused(404 if error.code == 1200 else 400, str(error), error.cure)

    def _status(self, _query: Query, _body: bytes) -> Any:
        market = self._scene.market
        return {
            "simulated": True,
            "seed": market.seed,
            "speed": self._speed(),
            "market_ms": self._scene.market_ms(),
            "clients": {venue: sum(1 for client in self._hub.clients if client.venue == venue) for venue in VENUES},
            "streams": len(self._hub.streams),
            "sent": self._hub.sent,
            "dropped_clients": self._hub.dropped_clients,
            "trade_rate": self._scene.trade_rate,
            "symbols": {venue: [item.symbol for item in market.instruments(venue)] for venue in VENUES},
        }

    def _labels(self, query: Query, _body: bytes) -> Any:
        now = self._scene.market_ms()
        end = min(whole(query, "to", now) or now, now)
        start = whole(query, "from", end - 3_600_000) or 0
        if end - start > _LONGEST_LABELS_MS:
            raise InvalidInput("That is a long span.", cure="Ask for at most 31 days at once.")
        found = self._scene.market.labels(start, end) if end > start else []
        return {"from": start, "to": end, "labels": [label for label in found if label.start_ms < now]}

    def _reports(self, _query: Query, _body: bytes) -> Any:
        living, past = self._faults.reports()
        limits = {name: door.limits() for name, door in self._doors.items()}
        inside = sum(report.requests_inside_ban for reports in limits.values() for report in reports.values())
        return {"living": living, "past": past, "requests_inside_ban": inside, "limits": limits}

    def _begin(self, _query: Query, body: bytes) -> Any:
        order = msgspec.json.decode(body, type=FaultOrder)
        fault = self._faults.ask(order)
        if order.fault == "cut":
            fault.count("cut", self._hub.cut(order.venue))
        elif order.fault == "half_open":
            fault.count("silenced", self._hub.half_open(order.venue))
        return fault.report()

    def _end(self, query: Query, _body: bytes) -> Any:
        ended = self._faults.end(whole(query, "id"))
        if "id" not in query:
            for door in self._doors.values():
                door.pardon()
        return {"ended": ended}

    def _load(self, _query: Query, _body: bytes) -> Any:
        return {"trade_rate": self._scene.trade_rate}

    def _set_load(self, query: Query, body: bytes) -> Any:
        self._scene.trade_rate = msgspec.json.decode(body, type=LoadOrder).trade_rate
        return self._load(query, body)


def _allowed(path: str) -> str:
    if path == "/demo/load":
        return 'Write {"trade_rate": 1..10000}.'
    fields = ", ".join(field.name for field in msgspec.structs.fields(FaultOrder))
    return f"fault is one of {', '.join(get_args(Kind))}; the fields are {fields}."


def _refused(status: int, message: str, cure: str) -> Answer:
    return Answer(status, encode({"error": {"message": message, "cure": cure}}))
