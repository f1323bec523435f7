"""Each exchange's procedure, on messages of our own and on recorded ones, whole and damaged."""

import random
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.market.depth_sync import ASKED, FUTURES, LINKED, MOST_LATE, SPOT, VERSIONED, WHOLE, DepthSync, SyncRule
from app.domain.market.depth_sync import rule_of as rule
from app.domain.market.values import Depth, Level
from tests.app.domain.market.recorded_depth import dumped_depth


def diff(first_id: int, last_id: int, previous_id: int | None = None, bids: Iterable[Level] = ()) -> Depth:
    return Depth(
        "x", "BTC/USDT", 0, 0, first_id=first_id, last_id=last_id, previous_id=previous_id, bids=list(bids), asks=[]
    )


def linked(last_id: int, previous_id: int) -> Depth:
    return Depth("x", "BTC/USDT", 0, 0, last_id=last_id, previous_id=previous_id, bids=[], asks=[])


def whole(last_id: int) -> Depth:
    return Depth("x", "BTC/USDT", 0, 0, last_id=last_id, bids=[], asks=[], snapshot=True)


def ids(changes: Iterable[Depth]) -> list[int]:
    return [change.last_id for change in changes]


def synced(sync_rule: SyncRule, last_id: int) -> DepthSync:
    sync = DepthSync(sync_rule)
    sync.receive(whole(last_id))
    return sync


# --- Binance spot


def test_spot_holds_what_comes_before_the_snapshot_and_applies_what_the_snapshot_does_not_contain():
    sync = DepthSync(SPOT)

    assert sync.receive(diff(1, 5)) == []
    assert sync.wants_snapshot
    assert sync.receive(diff(6, 9)) == sync.receive(diff(10, 12)) == []
    assert ids(sync.receive(whole(7))) == [7, 9, 12]
    assert (sync.trusted, sync.wants_snapshot) == (True, False)
    assert (sync.counts.gaps, sync.counts.late, sync.counts.resyncs) == (0, 0, 0)


def test_a_snapshot_older_than_what_was_held_is_asked_for_again():
    sync = DepthSync(SPOT)
    sync.receive(diff(10, 12))

    assert sync.receive(whole(8)) == []
    assert sync.wants_snapshot
    assert ids(sync.receive(whole(9))) == [9, 12]


def test_spot_changes_follow_each_other_by_one():
    sync = synced(SPOT, 100)

    assert ids(sync.receive(diff(99, 103))) == [103]  # the first may begin inside the snapshot
    assert ids(sync.receive(diff(104, 104))) == [104]
    assert sync.receive(diff(106, 107)) == []
    assert (sync.trusted, sync.wants_snapshot, sync.counts.gaps) == (False, True, 1)


def test_old_changes_right_after_a_snapshot_are_no_fault():
    sync = synced(SPOT, 100)

    assert sync.receive(diff(90, 95)) == sync.receive(diff(96, 100)) == []
    assert (sync.counts.late, sync.counts.duplicate) == (0, 0)


# --- Binance futures


def test_futures_changes_are_linked_although_their_ids_have_holes():
    sync = DepthSync(FUTURES)
    for each in (diff(10, 15, 8), diff(20, 25, 15), diff(31, 39, 25)):
        assert sync.receive(each) == []

    assert ids(sync.receive(whole(22))) == [22, 25, 39]
    assert ids(sync.receive(diff(50, 51, 39))) == [51]
    assert sync.receive(diff(60, 61, 55)) == []
    assert sync.counts.gaps == 1


@pytest.mark.parametrize("snapshot_id", [15, 17, 20, 25])
def test_a_futures_snapshot_may_fall_between_two_changes_or_on_the_end_of_one(snapshot_id: int):
    sync = DepthSync(FUTURES)
    sync.receive(diff(20, 25, 15))

    assert ids(sync.receive(whole(snapshot_id))) == [snapshot_id, 25]
    assert ids(sync.receive(diff(26, 30, 25))) == [30]


# --- OKX and HTX


def test_okx_sends_its_snapshot_by_itself():
    sync = DepthSync(LINKED)

    assert ids(sync.receive(whole(10))) == [10]
    assert ids(sync.receive(linked(15, 10))) == [15]
    assert sync.receive(linked(20, 17)) == []
    assert sync.wants_snapshot
    assert ids(sync.receive(whole(3))) == [3]  # a new subscription may count anew
    assert ids(sync.receive(linked(5, 3))) == [5]
    assert (sync.counts.gaps, sync.counts.resyncs) == (1, 1)


def test_a_heartbeat_of_okx_repeats_the_id():
    sync = synced(LINKED, 10)

    assert ids(sync.receive(linked(10, 10))) == [10]
    assert ids(sync.receive(linked(11, 10))) == [11]
    assert sync.counts.duplicate == 0


def test_after_maintenance_okx_may_count_from_below():
    sync = synced(LINKED, 1_000)

    assert ids(sync.receive(linked(3, 1_000))) == [3]
    assert ids(sync.receive(linked(5, 3))) == [5]
    assert sync.counts.gaps == 0


def test_versions_of_htx_count_by_one():
    sync = synced(VERSIONED, 7)

    assert ids(sync.receive(linked(8, 7))) == [8]
    assert sync.receive(linked(10, 9)) == []
    assert sync.counts.gaps == 1


def test_the_answer_of_htx_spot_is_joined_where_it_falls():
    sync = DepthSync(ASKED)
    for each in (linked(12, 10), linked(15, 12), linked(19, 15)):
        sync.receive(each)

    assert ids(sync.receive(whole(13))) == [13, 15, 19]


def test_a_book_that_is_only_asked_for_is_replaced_each_time():
    sync = DepthSync(WHOLE)

    assert ids(sync.receive(whole(5))) == [5]
    assert ids(sync.receive(whole(0))) == [0]


def test_the_demo_follows_the_rules_of_what_it_imitates():
    assert rule("demo-binance", perpetual=True) is rule("binance", perpetual=True) is FUTURES
    assert rule("binance", perpetual=False) is SPOT
    assert rule("demo-okx", perpetual=True) is LINKED
    assert (rule("htx", perpetual=True), rule("demo-htx", perpetual=False)) == (VERSIONED, ASKED)
    assert rule("kraken", perpetual=False) is WHOLE


# --- faults


def test_a_message_that_comes_twice_is_applied_once():
    sync = synced(FUTURES, 10)
    sync.receive(diff(11, 12, 10))

    assert sync.receive(diff(11, 12, 10)) == []
    assert (sync.counts.duplicate, sync.trusted) == (1, True)


def test_a_straggler_is_not_applied():
    sync = synced(SPOT, 10)
    sync.receive(diff(11, 12))
    sync.receive(diff(13, 15))

    assert sync.receive(diff(11, 12)) == []
    assert (sync.counts.late, sync.trusted) == (1, True)


def test_two_messages_that_changed_places_heal_without_a_snapshot():
    sync = synced(FUTURES, 10)

    assert sync.receive(diff(13, 14, 12)) == []
    assert not sync.trusted
    assert ids(sync.receive(diff(11, 12, 10))) == [12, 14]
    assert (sync.trusted, sync.wants_snapshot) == (True, False)
    assert (sync.counts.gaps, sync.counts.out_of_order, sync.counts.resyncs) == (1, 1, 0)


def test_the_answer_that_was_asked_for_meanwhile_is_then_not_needed():
    sync = synced(FUTURES, 10)
    sync.receive(diff(13, 14, 12))
    sync.receive(diff(11, 12, 10))

    assert sync.receive(whole(13)) == []
    assert (sync.last_id, sync.trusted) == (14, True)


def test_a_hole_behind_the_snapshot_is_a_gap_of_its_own():
    sync = DepthSync(SPOT)
    sync.receive(diff(1, 5))
    sync.receive(diff(9, 12))

    assert ids(sync.receive(whole(3))) == [3, 5]
    assert (sync.trusted, sync.wants_snapshot, sync.counts.gaps) == (False, True, 1)
    assert ids(sync.receive(whole(9))) == [9, 12]
    assert (sync.trusted, sync.counts.resyncs) == (True, 1)


def test_an_exchange_that_counts_anew_is_noticed():
    sync = synced(SPOT, 1_000_000)
    sync.receive(diff(1_000_001, 1_000_001))

    for number in range(1, MOST_LATE + 1):
        assert sync.receive(diff(number, number)) == []

    assert (sync.trusted, sync.wants_snapshot, sync.counts.gaps) == (False, True, 1)
    assert ids(sync.receive(whole(MOST_LATE - 1))) == [MOST_LATE - 1, MOST_LATE]


def test_a_burst_of_what_is_known_is_no_new_count():
    sync = synced(SPOT, 10)
    said = [msgspec.structs.replace(diff(number, number), time_ms=number) for number in range(11, 13 + 2 * MOST_LATE)]
    for change in said:
        assert sync.receive(change) == [change]

    assert [sync.receive(change) for change in said] == [[]] * len(said)
    assert (sync.trusted, sync.wants_snapshot, sync.counts.gaps) == (True, False, 0)


def test_a_quiet_book_is_renewed_by_the_same_book_once():
    sync = synced(FUTURES, 10)
    sync.receive(diff(11, 12, 10))
    sync.renew()

    assert ids(sync.receive(whole(12))) == [12]
    assert (sync.trusted, sync.wants_snapshot) == (True, False)
    assert sync.receive(whole(12)) == []
    assert ids(sync.receive(diff(13, 14, 12))) == [14]


def test_a_message_that_ends_before_it_begins_is_a_damage_although_the_next_one_would_follow():
    sync = synced(FUTURES, 10)
    sync.receive(diff(11, 12, 10))

    assert sync.receive(diff(14, 9, 8)) == sync.receive(diff(13, 14, 12)) == []
    assert (sync.trusted, sync.wants_snapshot, sync.counts.gaps) == (False, True, 1)


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("app.domain.market.depth_sync.MOST_HELD", 3)
    sync = DepthSync(SPOT)
    for number in range(1, 6):
        sync.receive(diff(number, number))

    assert sync.counts.dropped == 2
    assert sync.receive(whole(1)) == []  # what it could be continued with was dropped
    assert ids(sync.receive(whole(2))) == [2, 3, 4, 5]


def test_a_book_can_be_renewed_while_it_is_right():
    sync = synced(FUTURES, 10)
    sync.renew()

    assert sync.wants_snapshot
    assert ids(sync.receive(diff(11, 12, 10))) == [12]
    assert ids(sync.receive(diff(13, 14, 12))) == [14]
    assert sync.trusted
    assert ids(sync.receive(whole(13))) == [13, 14]  # older than the stream, so what came since is applied once more
    assert (sync.trusted, sync.wants_snapshot, sync.counts.gaps, sync.counts.dropped) == (True, False, 0, 0)


def test_a_new_connection_begins_anew_and_keeps_its_counts():
    sync = synced(SPOT, 10)
    sync.receive(diff(20, 21))
    sync.restart()

    assert (sync.last_id, sync.trusted, sync.wants_snapshot, sync.counts.gaps) == (None, False, False, 1)


def applied(sync_rule: SyncRule, diffs: list[Depth], stream: list[int], answers_after: int) -> list[list[int]]:
    """Runs of ids that were applied one after the other, each begun by a snapshot. Snapshots are right and come late."""
    sync, runs, asked_for = DepthSync(sync_rule), [[0]], -1
    for place, number in enumerate(stream):
        for change in sync.receive(diffs[number]):
            runs[-1].append(change.last_id)
        if sync.wants_snapshot and asked_for < 0:
            asked_for = place + answers_after
        if 0 <= asked_for <= place:
            asked_for = -1
            answer = sync.receive(whole(diffs[max(stream[: place + 1])].last_id))
            if answer:
                runs.append([])
            runs[-1] += ids(answer)
    return runs


@pytest.mark.parametrize("sync_rule", [SPOT, FUTURES, ASKED], ids=lambda each: each.name)
@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10_000), answers_after=st.integers(0, 5))
def test_whatever_is_lost_doubled_or_moved_nothing_is_applied_across_a_hole(
    sync_rule: SyncRule, seed: int, answers_after: int
):
    chance = random.Random(seed)
    diffs, last_id = [], 0
    for _ in range(60):
        first_id = last_id + (1 if sync_rule is SPOT else chance.randint(1, 5))
        next_id = first_id + chance.randint(0, 4)
        diffs.append(diff(first_id, next_id, None if sync_rule is SPOT else last_id))
        last_id = next_id
    stream = [number for number in range(60) for _ in range(chance.choice((0, 1, 1, 1, 1, 1, 1, 1, 2)))]
    for _ in range(3):
        place = chance.randrange(len(stream) - 1)
        stream[place], stream[place + 1] = stream[place + 1], stream[place]
    before = {each.last_id: earlier.last_id for earlier, each in pairwise(diffs)}

    for run in applied(sync_rule, diffs, stream, answers_after)[1:]:
        start, *rest = run
        for last, each in pairwise([start, *rest]):
            assert before.get(each, 0) <= last <= each


# --- recorded


GAPS = {
    ("positive", "spot_trxusdt"): 0,
    ("positive", "usd_m_futures_trxusdt"): 0,
    ("positive", "coin_m_futures_trxusd_perp"): 0,
    ("negative", "spot_trxusdt"): 1,
    ("negative", "usd_m_futures_trxusdt"): 0,
    ("negative", "coin_m_futures_trxusd_perp"): 2,
}


@pytest.mark.parametrize(("quality", "market"), GAPS, ids=str)
def test_recorded_streams_have_the_gaps_that_were_put_into_them(recorded: Path, quality: str, market: str):
    name = f"test_{quality}_binance_difference_depth_stream_{market}_04-03-2025.csv"
    diffs = list(dumped_depth(recorded / "depth_good_and_corrupted" / name))
    if diffs[-1].time_ms - diffs[-2].time_ms > 3_600_000 and market != "usd_m_futures_trxusdt":
        del diffs[-1]  # one row from much later that day, which INDEX.md names
    sync = DepthSync(SPOT if market.startswith("spot") else FUTURES)

    for each in diffs:
        sync.receive(each)
        if sync.wants_snapshot:
            begin = each.previous_id if each.previous_id is not None else (each.first_id or 0) - 1
            sync.receive(whole(begin))

    assert len(diffs) > 100
    assert sum(not sync.rule.follows(each, before.last_id) for before, each in pairwise(diffs)) == GAPS[quality, market]
    assert (sync.trusted, sync.counts.gaps) == (True, GAPS[quality, market])
