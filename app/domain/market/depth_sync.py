"""Which changes of a book may be applied, by each exchange's documented procedure. It decides; the caller does the network."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from app.domain.market.values import Depth
from app.domain.market.venue import venue_of

MOST_HELD = 300  # half a minute of Binance's 100 ms diffs, about 2 MB of the busiest symbol
MOST_LATE = 10  # so many old ids of new times in a row: the exchange counts anew, and would be ignored for ever

Follows = Callable[[Depth, int], bool]


@dataclass(frozen=True, slots=True)
class SyncRule:
    """One way of numbering changes. All changes carry absolute quantities, so one that overlaps what is known does no harm."""

    name: str
    follows: Follows
    """Whether a change continues a book that stands at this id."""
    joins: Follows
    """Whether it continues a snapshot of this id; more is allowed, because a snapshot may fall inside a change."""
    begins: Callable[[Depth], int]
    """The least snapshot id that this change can continue."""
    asked: bool
    """Whether snapshots are answers to a question and may be older than the stream; else each one replaces everything."""
    window: int | None = None
    """The exchange keeps so many levels a side up to date and no more; None: it tells every change, however deep."""
    quiet_ms: int = 15_000
    """How long a healthy stream of a watched symbol may say nothing."""
    ends: bool = True
    """Whether a whole book that is shorter than ours may be is all there is; else nobody knows how many levels an answer has."""


def _linked(depth: Depth, last_id: int) -> bool:
    return depth.previous_id == last_id


def _link_spans(depth: Depth, snapshot_id: int) -> bool:
    return depth.previous_id is not None and depth.previous_id <= snapshot_id <= depth.last_id


def _previous(depth: Depth) -> int:
    return depth.previous_id if depth.previous_id is not None else depth.last_id


def _first(depth: Depth) -> int:
    return depth.first_id if depth.first_id is not None else depth.last_id


def _spot_follows(depth: Depth, last_id: int) -> bool:
    return _first(depth) <= last_id + 1 <= depth.last_id


SPOT = SyncRule("spot", _spot_follows, _spot_follows, lambda depth: _first(depth) - 1, asked=True)
"""Binance spot: ``U`` is ``first_id``, ``u`` is ``last_id``; ids have no holes."""

FUTURES = SyncRule("futures", _linked, _link_spans, _previous, asked=True)
"""Binance futures: ``pu`` is ``previous_id``; ids have holes, so a snapshot between ``pu`` and ``U`` is joined as well."""

LINKED = SyncRule("linked", _linked, _linked, _previous, asked=False, window=400, quiet_ms=65_000)
"""OKX books: the snapshot comes in the stream; ``seqId`` is ``last_id``, ``prevSeqId`` is ``previous_id``. A quiet book repeats
its id without levels, once a minute; after maintenance an id may fall, and is right when its ``previous_id`` is.
"""

VERSIONED = SyncRule("versioned", _linked, _linked, _previous, asked=False, window=150)
"""HTX swaps, ``depth.size_150.high_freq``: ``version`` is ``last_id``, and ``previous_id`` one less."""

ASKED = SyncRule("asked", _linked, _link_spans, _previous, asked=True, window=150)
"""HTX spot, ``mbp``: ``seqNum`` and ``prevSeqNum`` link the changes, the snapshot is asked for."""

WHOLE = SyncRule("whole", _linked, _linked, _previous, asked=False, ends=False)
"""Books that are only ever asked for: each one replaces the one before."""

_RULES = {
    ("binance", True): FUTURES,
    ("binance", False): SPOT,
    ("okx", True): LINKED,
    ("okx", False): LINKED,
    ("htx", True): VERSIONED,
    ("htx", False): ASKED,
}


def rule_of(exchange: str, *, perpetual: bool) -> SyncRule:
    """The rule of an exchange, live or ``demo-``."""
    return _RULES.get((venue_of(exchange), perpetual), WHOLE)


@dataclass(slots=True)
class SyncCounts:
    """What was wrong with the stream, since the start."""

    gaps: int = 0
    """Holes: a message was lost, or came after its successor."""
    late: int = 0
    """Messages of a state that the book had passed."""
    duplicate: int = 0
    """Messages that came twice."""
    out_of_order: int = 0
    """Messages that came after their successor and filled its hole."""
    resyncs: int = 0
    """Whole books that were taken after the first one."""
    dropped: int = 0
    """Messages that waited for a snapshot until there was no room."""


@dataclass(slots=True)
class DepthSync:
    """Turns a depth stream into gap-free changes.

    Give it every ``Depth`` and apply what it returns, in that order. While ``wants_snapshot`` is True a whole book must be got;
    ask again when no answer comes. While ``trusted`` is False the book that was built so far is not the exchange's.
    """

    rule: SyncRule
    last_id: int | None = None
    wants_snapshot: bool = False
    counts: SyncCounts = field(default_factory=SyncCounts)
    _held: deque[Depth] = field(default_factory=deque)
    """What waits for a snapshot; while ``_renewing``, what was applied since it was asked for."""
    _hole: bool = False
    """A message is missing between ``last_id`` and what is held."""
    _renewing: bool = False
    _joining: bool = False
    """The book is a snapshot that no change has continued yet."""
    _late: int = 0
    _newest_ms: int = 0
    _synced: bool = False

    @property
    def trusted(self) -> bool:
        """Whether what was applied is the exchange's book."""
        return self.last_id is not None and not self._hole

    def receive(self, depth: Depth) -> list[Depth]:
        """What may be applied now, oldest first."""
        if depth.snapshot:
            return self._receive_snapshot(depth)
        if depth.first_id is not None and depth.first_id > depth.last_id:
            self.distrust()  # it ends before it begins: what it was part of is damaged, whatever the next one says
            return []
        if self.last_id is None:
            self._hold(depth)
            self.wants_snapshot = True
            return []
        if self._continues(depth):
            return self._accept(depth)
        if depth.last_id <= self.last_id:
            self._receive_old(depth)
        else:
            self._receive_beyond_a_hole(depth)
        return []

    def restart(self) -> None:
        """Forget everything but the counts: the connection is new."""
        self.last_id = None
        self.wants_snapshot = self._hole = self._renewing = self._joining = False
        self._late = 0
        self._held.clear()

    def distrust(self) -> None:
        """The book contradicts itself although no message was missed: only a new snapshot can heal it."""
        self.restart()
        self.counts.gaps += 1
        self.wants_snapshot = True

    def renew(self) -> None:
        """A new snapshot is wanted although the book is right, because it has become too shallow. It stays right meanwhile."""
        if self.trusted and not self._renewing:
            self._renewing = self.wants_snapshot = True
            self._held.clear()

    def _continues(self, depth: Depth) -> bool:
        return (self.rule.joins if self._joining else self.rule.follows)(depth, self.last_id or 0)

    def _accept(self, depth: Depth) -> list[Depth]:
        self._advance(depth)
        if self._renewing:
            self._hold(depth)
        elif self._held:  # what was missing came after all: what waited for it goes on without a snapshot
            self.counts.out_of_order += 1
            return [depth, *self._drain()]
        return [depth]

    def _advance(self, depth: Depth) -> None:
        self.last_id, self._newest_ms = depth.last_id, depth.time_ms
        self._joining = False
        self._late = 0

    def _receive_old(self, depth: Depth) -> None:
        if self._joining:
            return  # the snapshot contains it: that is the procedure, not a fault
        self._late += (
            depth.time_ms >= self._newest_ms
        )  # older ones come in bursts, from a planned successor of the connection
        if depth.last_id == self.last_id:
            self.counts.duplicate += 1
        else:
            self.counts.late += 1
        if self._late >= MOST_LATE:
            self.distrust()
            self._hold(depth)

    def _receive_beyond_a_hole(self, depth: Depth) -> None:
        if self._renewing:
            self._renewing = False
            self._held.clear()
        if not self._hole:
            self.counts.gaps += 1
            self._hole = self.wants_snapshot = True
        self._hold(depth)

    def _receive_snapshot(self, depth: Depth) -> list[Depth]:
        if self.rule.asked:
            if self._held and depth.last_id < self.rule.begins(self._held[0]):
                return []  # older than the first change that was kept: between them something is missing, so ask again
            known = self.last_id is not None and not self._held
            if known and depth.last_id < (self.last_id or 0) + (not self._renewing):
                self.wants_snapshot = self._renewing
                return []  # asked for in need, and meanwhile the hole was filled, or the answer came twice
        else:
            self._held.clear()
        if self._synced:
            self.counts.resyncs += 1
        self._synced = self._joining = True
        self.last_id, self._newest_ms = depth.last_id, depth.time_ms
        self._late = 0
        self._renewing = self._hole = False
        return [depth, *self._drain()]

    def _drain(self) -> list[Depth]:
        """What waited and continues the book. What does not is behind a hole, and waits on."""
        ready: list[Depth] = []
        while self._held:
            depth = self._held[0]
            if self._continues(depth):
                self._advance(depth)
                ready.append(depth)
            elif depth.last_id > (self.last_id or 0):
                if not self._hole:
                    self.counts.gaps += 1
                self._hole = self.wants_snapshot = True
                return ready
            self._held.popleft()
        self._hole = self.wants_snapshot = False
        return ready

    def _hold(self, depth: Depth) -> None:
        if len(self._held) >= MOST_HELD:
            self._held.popleft()
            if not self._renewing:  # else it has been applied
                self.counts.dropped += 1
        self._held.append(depth)
