import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InvalidInput, RateLimited, Unavailable
from app.exchanges.exchange import Limit
from app.exchanges.throttle import LONGEST_BAN_S, Bans, Budget, Throttle, retry_after_s
from app.settings import ROOT
from tests.app.exchanges.doors import played_rest
from tests.builders import wait_for

NOW_MS = 1_795_237_200_000
USED = "x-mbx-used-weight-1m"


class Clock:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.s = 100.0
        self.ms = NOW_MS

    def pass_s(self, seconds: float) -> None:
        self.s += seconds
        self.ms += round(seconds * 1_000)

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.s


def bans_of(folder: Path, clock: Clock) -> Bans:
    return Bans(folder / "binance.json", clock.now_ms, monotonic=clock.monotonic)


def throttle_of(folder: Path, *limits: Limit, clock: Clock | None = None) -> Throttle:
    limits = limits or (Limit("spot", 100, 60, USED),)
    if clock:
        return Throttle("binance", limits, folder, clock.now_ms, monotonic=clock.monotonic)
    return Throttle("binance", limits, folder, lambda: time.time_ns() // 1_000_000)


@given(
    calls=st.lists(
        st.tuples(
            st.integers(1, 40),  # weight
            st.floats(0, 20),  # idle before
            st.floats(0, 15),  # how long the answer takes
            st.floats(0, 1),  # when, on the way, the exchange counts it
        ),
        max_size=60,
    ),
    weight=st.integers(40, 100),
    per_s=st.sampled_from([2.0, 10.0, 60.0]),
)
@settings(deadline=None)
def test_no_window_of_the_exchange_ever_holds_more_than_its_limit(calls, weight, per_s):
    budget, now_s, counted = Budget([Limit("spot", weight, per_s)]), 0.0, []

    for cost, idle_s, takes_s, where in calls:
        now_s += idle_s
        while wait_s := budget.wait_s("spot", cost, now_s):
            now_s += wait_s
        spent = budget.start("spot", cost)
        counted.append((now_s + where * takes_s, cost))
        now_s += takes_s
        budget.end(spent, now_s)

    for at_s, _ in counted:
        # a microsecond off both ends: sums of floats are not exact, and neither is the exchange's clock
        assert sum(cost for other_s, cost in counted if at_s <= other_s < at_s + per_s - 1e-6) <= weight


def test_what_is_on_its_way_counts_and_nobody_knows_for_how_long():
    budget = Budget([Limit("spot", 10, 60)])
    on_its_way = budget.start("spot", 10)

    assert budget.wait_s("spot", 1, 1_000.0) is None
    budget.end(on_its_way, 1_000.0)
    assert budget.wait_s("spot", 1, 1_020.0) == 40.0


def test_every_limit_of_a_bucket_must_allow_it():
    budget = Budget([Limit("spot", 10, 1), Limit("spot", 15, 60)])
    budget.end(budget.start("spot", 10), 0.0)

    assert budget.wait_s("spot", 5, 1.0) == 0.0
    assert budget.wait_s("spot", 6, 1.0) == 59.0


def test_what_could_never_pass_is_refused_at_once():
    budget = Budget([Limit("spot", 10, 60)])

    with pytest.raises(InvalidInput, match="can never pass"):
        budget.check("spot", 11)
    with pytest.raises(InvalidInput, match="no rate limit"):
        budget.check("futures", 1)


def test_the_exchange_is_believed_when_it_counts_more_and_not_when_it_counts_less():
    budget = Budget([Limit("spot", 100, 60, USED)])
    budget.end(budget.start("spot", 10), 0.0)

    budget.correct("spot", USED, 90, 0.0)
    assert budget.used("spot", 0.0)[0][1] == 90
    budget.correct("spot", USED, 5, 1.0)
    assert budget.used("spot", 1.0)[0][1] == 90
    assert budget.wait_s("spot", 20, 1.0) == 59.0


def test_calls_go_out_in_the_order_of_asking_and_urgent_ones_first(tmp_path: Path):
    async def play() -> list[str]:
        throttle, seen = throttle_of(tmp_path), []

        async def ask(name: str, *, urgent: bool = False) -> None:
            turn = await throttle.turn("spot", 1, urgent=urgent)
            seen.append(name)
            await asyncio.sleep(0)
            turn.end()

        await asyncio.gather(*(ask(name) for name in "abc"), ask("urgent", urgent=True))
        return seen

    assert asyncio.run(play()) == ["a", "urgent", "b", "c"]


def test_a_bucket_that_is_used_up_does_not_hold_the_others(tmp_path: Path):
    async def play() -> list[str]:
        throttle, seen = throttle_of(tmp_path, Limit("slow", 1, 3600), Limit("free", 100, 1)), []
        (await throttle.turn("slow", 1)).end()
        blocked = asyncio.ensure_future(throttle.turn("slow", 1))
        await asyncio.sleep(0)
        (await throttle.turn("free", 1)).end()
        seen += [f"{state.bucket} waiting {state.waiting} used {state.used:g}" for state in throttle.states()]
        blocked.cancel()
        return seen

    assert asyncio.run(play()) == ["slow waiting 1 used 1", "free waiting 0 used 1"]


def test_a_caller_that_gives_up_gives_its_turn_back(tmp_path: Path):
    async def play() -> None:
        throttle = throttle_of(tmp_path)
        first = await throttle.turn("spot", 1)
        second, third = (asyncio.ensure_future(throttle.turn("spot", 1)) for _ in range(2))
        await asyncio.sleep(0)
        first.end()  # the second has its turn now, and does not know it yet
        second.cancel()
        (await third).end()

    asyncio.run(play())


def test_the_turn_comes_when_the_window_has_room_again(tmp_path: Path):
    async def play() -> None:
        throttle = throttle_of(tmp_path, Limit("spot", 1, 0.05))
        for _ in range(3):
            (await throttle.turn("spot", 1)).end()

    asyncio.run(play())


def test_whoever_waits_when_a_ban_comes_is_turned_away(tmp_path: Path):
    async def play() -> None:
        throttle = throttle_of(tmp_path)
        turn = await throttle.turn("spot", 1)
        queued = asyncio.ensure_future(throttle.turn("spot", 1))
        await asyncio.sleep(0)
        throttle.heard("spot", 429, {"Retry-After": "30"})
        turn.end()
        with pytest.raises(RateLimited) as told:
            await queued
        assert 30 < told.value.retry_after_s <= 31
        with pytest.raises(RateLimited):
            await throttle.turn("spot", 1, urgent=True)

    asyncio.run(play())


def test_closing_tells_whoever_waits(tmp_path: Path):
    async def play() -> None:
        throttle = throttle_of(tmp_path)
        await throttle.turn("spot", 1)
        queued = asyncio.ensure_future(throttle.turn("spot", 1))
        await asyncio.sleep(0)
        throttle.close()
        with pytest.raises(Unavailable):
            await queued

    asyncio.run(play())


def test_a_ban_is_known_again_after_a_restart_and_ends(tmp_path: Path):
    clock = Clock()
    throttle_of(tmp_path, clock=clock).heard("spot", 418, {"Retry-After": "120"}, "banned")
    clock.pass_s(60)

    again = bans_of(tmp_path, clock)
    assert 60 <= again.left_s() <= 61
    assert again.why() == "status 418: banned"
    clock.pass_s(61)
    again.check()
    assert again.until_ms() is None
    assert bans_of(tmp_path, clock).left_s() == 0


def test_setting_the_clock_neither_ends_a_ban_nor_makes_it_longer(tmp_path: Path):
    clock = Clock()
    bans = bans_of(tmp_path, clock)
    bans.refused("too much", 120, guess_s=60)
    clock.ms += 3_600_000
    assert bans.left_s() > 100

    clock.ms -= 3 * 3_600_000
    assert bans_of(tmp_path, clock).left_s() <= 121


def test_without_retry_after_the_guess_doubles_and_is_forgiven(tmp_path: Path):
    clock, waits = Clock(), []
    throttle = throttle_of(tmp_path, clock=clock)
    for _ in range(3):
        throttle.heard("spot", 429, {})
        waits.append(throttle.bans.left_s())
        clock.pass_s(waits[-1] + 1)
    clock.pass_s(1_000)
    throttle.heard("spot", 429, {})

    assert [*waits, throttle.bans.left_s()] == pytest.approx([60.5, 120.5, 240.5, 60.5])


def test_the_guess_goes_on_doubling_over_a_restart(tmp_path: Path):
    clock = Clock()
    throttle_of(tmp_path, clock=clock).heard("spot", 429, {})
    clock.pass_s(70)
    again = throttle_of(tmp_path, clock=clock)
    again.heard("spot", 429, {})

    assert again.bans.left_s() == pytest.approx(120.5)


def test_binance_says_the_end_of_a_ban_in_words(tmp_path: Path):
    clock = Clock()
    throttle = throttle_of(tmp_path, clock=clock)
    throttle.heard(
        "spot", 418, {}, f'{{"code":-1003,"msg":"Way too many requests; IP banned until {NOW_MS + 300_000}."}}'
    )

    assert throttle.bans.left_s() == pytest.approx(300.5)


def test_any_refusal_with_retry_after_is_obeyed_and_no_success_is_taken_for_one(tmp_path: Path):
    throttle = throttle_of(tmp_path, clock=Clock())
    throttle.heard("spot", 200, {"Retry-After": "60"})
    throttle.check()
    throttle.heard("spot", 404, {})
    throttle.check()
    throttle.heard("spot", 503, {"Retry-After": "60"})

    with pytest.raises(RateLimited):
        throttle.check()


def test_a_ban_never_lasts_longer_than_a_person_would_notice(tmp_path: Path):
    bans = bans_of(tmp_path, Clock())
    bans.refused("for ever", 10**9, guess_s=60)

    assert bans.left_s() <= LONGEST_BAN_S + 1


def test_a_shorter_refusal_does_not_shorten_a_ban(tmp_path: Path):
    bans = bans_of(tmp_path, Clock())
    bans.refused("long", 300, guess_s=60)
    bans.refused("short", 1, guess_s=60)

    assert bans.left_s() > 299


def test_a_ban_file_that_cannot_be_read_counts_as_a_ban(tmp_path: Path):
    (tmp_path / "binance.json").write_text("{")

    assert bans_of(tmp_path, Clock()).left_s() == pytest.approx(120)


def test_a_full_disk_loses_the_memory_and_not_the_obedience(tmp_path: Path):
    (tmp_path / "file").write_text("")
    bans = Bans(tmp_path / "file" / "binance.json", Clock().now_ms)
    bans.refused("too much", 60, guess_s=60)

    with pytest.raises(RateLimited):
        bans.check()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": " 0.5 "}, 0.5),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Sat, 21 Nov 2026 05:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 05:00:30 GMT", "date": "Sat, 21 Nov 2026 05:00:20 GMT"}, 10.0),
        ({"retry-after": "Sat, 21 Nov 2020 05:00:30 GMT"}, 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(headers, expected):
    assert retry_after_s(headers, NOW_MS) == expected


CALLER = """
import asyncio, sys, time
from pathlib import Path
from app.errors import RateLimited
from app.exchanges.rest import Rest
from app.exchanges.throttle import Throttle
from tests.app.exchanges.doors import PlayedBinance, server_time

def now_ms():
    return time.time_ns() // 1_000_000

async def main(url, folder):
    exchange = PlayedBinance(url)
    rest = Rest(exchange, Throttle("binance", exchange.limits, Path(folder), now_ms), now_ms=now_ms)
    print("started", flush=True)
    while True:
        try:
            await asyncio.gather(*(rest.call(server_time()) for _ in range(5)))
        except RateLimited as told:
            print(f"refused {told.retry_after_s}", flush=True)
            await asyncio.sleep(0.02)

asyncio.run(main(*sys.argv[1:]))
"""


def test_not_one_request_is_sent_inside_a_ban_even_by_a_process_that_was_killed(tmp_path: Path):
    with played_rest() as exchange:
        exchange.plan = [(200, {}, {"serverTime": 1}), (418, {"Retry-After": "3600"}, "teapot")]
        for number in range(3):
            with (tmp_path / f"out{number}").open("w") as out:
                process = subprocess.Popen(
                    [sys.executable, "-c", CALLER, exchange.url, str(tmp_path / "bans")], cwd=ROOT, stdout=out
                )
                said = wait_for(
                    lambda path=tmp_path / f"out{number}": "refused" in (text := path.read_text()) and text, within_s=30
                )
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
            assert float(said.splitlines()[1].split()[1]) > 3_500

        assert len(exchange.paths) == 2  # the one before the ban and the one that was answered with it
        assert json.loads((tmp_path / "bans" / "binance.json").read_text())["why"] == "status 418: teapot"
