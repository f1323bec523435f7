"""What the feed notes of streams that were away and of holes that were repaired."""

from dataclasses import dataclass, field
from datetime import timedelta

from app.domain.recovery import Recovery
from app.usecases.mend_feed import AWAY_S, FeedMender
from tests.builders import NOW


@dataclass
class Venue:
    """A collector, as the mender sees it."""

    name: str = "demo-okx"
    candles_asked: int = 0
    away: str = ""
    repaired: list[tuple[str, str]] = field(default_factory=list)

    def streams_away(self) -> str:
        return self.away

    def take_repaired(self) -> list[tuple[str, str]]:
        repaired, self.repaired = self.repaired, []
        return repaired


@dataclass
class Told:
    """What was told, and the mender that tells it."""

    found: list[Recovery] = field(default_factory=list)
    now_s: float = 0.0

    def __post_init__(self) -> None:
        self.mender = FeedMender(self.found.append)

    def look(self, venues: list[Venue], later_s: float = 0.0) -> None:
        self.now_s += later_s
        self.mender.look(venues, NOW + timedelta(seconds=self.now_s), self.now_s)


def test_a_reconnection_is_no_failure():
    told, venue = Told(), Venue(away="1 of 2 connections are not open: cut")
    told.look([venue])
    told.look([venue], AWAY_S - 1)
    venue.away = ""
    told.look([venue], 1)

    assert told.found == []


def test_streams_that_stay_away_are_told_and_their_return_says_what_came_by_rest():
    told, venue = Told(), Venue(away="1 of 2 connections are not open: cut", candles_asked=100)
    told.look([venue])
    told.look([venue], AWAY_S)
    told.look([venue], 30)
    venue.away, venue.candles_asked = "", 107
    told.look([venue], 5)
    told.look([venue], 5)

    first, last = told.found
    assert (first.fault, first.subject, first.outcome) == ("stream_down", "demo-okx", "pending")
    assert (last.key, last.outcome) == (first.key, "recovered")
    assert last.note == "its streams are open again after 65 s; 7 candles came by REST meanwhile"


def test_a_collector_that_is_stopped_leaves_nothing_open():
    told, venue = Told(), Venue(away="1 of 1 connections are not open: cut")
    told.look([venue])
    told.look([venue], AWAY_S)
    told.look([], 1)
    told.look([venue], 1)

    assert [one.outcome for one in told.found] == ["pending", "given_up"]


def test_a_hole_that_was_repaired_is_told_once():
    told, venue = Told(), Venue(repaired=[("2 gaps in its candles", "9 candles came")])
    told.look([venue])
    told.look([venue], 1)

    (only,) = told.found
    assert (only.fault, only.reason, only.outcome, only.note) == (
        "candles_missing",
        "2 gaps in its candles",
        "recovered",
        "9 candles came",
    )


def test_holes_of_one_look_are_one_row():
    told, venue = (
        Told(),
        Venue(repaired=[("2 gaps in its candles", "9 candles came"), ("1 gaps in its candles", "0 candles came")]),
    )
    told.look([venue])

    (only,) = told.found
    assert (only.reason, only.note) == (
        "2 gaps in its candles; 1 gaps in its candles",
        "9 candles came; 0 candles came",
    )


def test_a_collector_that_was_begun_anew_has_not_recovered():
    told, before = Told(), Venue(away="1 of 1 connections are not open: cut", candles_asked=100)
    told.look([before])
    told.look([before], AWAY_S)
    told.look([Venue()], 1)

    assert [(one.outcome, one.note) for one in told.found][1:] == [("given_up", "the collector was begun anew")]
