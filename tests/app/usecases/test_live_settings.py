"""Settings that change while the fleet runs: what may be written, what is read, and what a row means that nobody can read."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from app.cache.bell import Bell
from app.cache.memory import MemoryCache
from app.domain.market.market_time import MarketTime
from app.domain.strategies.v3.coins import kind_of
from app.errors import InvalidInput, NotFound
from app.storage import audit, config, symbols, tasks
from app.storage.database import reading, transaction
from app.usecases import live_settings
from app.usecases.asking import Asking
from app.usecases.begin_judging import begin_cycle
from app.usecases.live_settings import SPECS, LiveSettings, Shown
from app.usecases.look_up import LookUp
from tests.builders import later

WHEN = datetime(2026, 11, 21, 5, 24, 11, tzinfo=UTC)


@pytest.fixture
def look_up(engine: Engine) -> LookUp:
    return LookUp(engine, MemoryCache())


def asking(at: datetime = WHEN) -> Asking:
    return Asking("a person", "t-1", at)


def change(look_up: LookUp, engine: Engine, name: str, value: Any, at: datetime = WHEN) -> Shown:
    return live_settings.change_setting(engine, look_up, name, value, asking(at))


def now(engine: Engine) -> LiveSettings:
    with reading(engine) as db:
        return live_settings.live_settings(db)


def write_by_hand(engine: Engine, **rows: str) -> None:
    with transaction(engine) as db:
        for name, value in rows.items():
            config.put(db, name, value, now=WHEN)


def traces(engine: Engine) -> list[tuple[str, str, Any, Any]]:
    with reading(engine) as db:
        return [(row.action, row.subject, row.before, row.after) for row in audit.recent(db, 20)][::-1]


def test_without_rows_the_defaults_hold(engine: Engine):
    found = now(engine)

    assert found == LiveSettings()
    assert (found.max_loss_amount, found.starting_equity) == (Decimal(100), Decimal(10_000))
    assert (found.taker_fee, found.maker_fee, found.slippage_bps) == (Decimal("0.0005"), Decimal("0.0002"), Decimal(5))
    assert (found.cooldown_minutes, found.judged_symbols, found.coin_classes, found.broken) == (5, 50, {}, ())


WRITTEN = [
    ("maxLossAmount", 50, "max_loss_amount", Decimal(50), "50"),
    ("maxLossAmount", "200", "max_loss_amount", Decimal(200), "200"),
    ("startingEquity", 2500.5, "starting_equity", Decimal("2500.5"), "2500.5"),
    ("startingEquity", 1_000_000_000, "starting_equity", Decimal(1_000_000_000), "1000000000"),
    ("takerFee", 0.00045, "taker_fee", Decimal("0.00045"), "0.00045"),
    ("makerFee", "-0.0001", "maker_fee", Decimal("-0.0001"), "-0.0001"),
    ("slippageBps", 0, "slippage_bps", Decimal(0), "0"),
    ("cooldownMinutes", 1440, "cooldown_minutes", 1440, 1440),
    ("judgedSymbols", 1000, "judged_symbols", 1000, 1000),
    ("coinClasses", {"wif": "small", "1000BONK": "hot"}, "coin_classes", {"WIF": "small", "BONK": "hot"}, None),
    (
        "exchangeFees",
        {"OKX": {"taker": 0.0004}},
        "exchange_fees",
        {"okx": {"taker": Decimal("0.0004")}},
        {"okx": {"taker": "0.0004"}},
    ),
]


@pytest.mark.parametrize(("name", "value", "field", "read", "told"), WRITTEN)
def test_what_is_written_is_read(
    engine: Engine, look_up: LookUp, name: str, value: Any, field: str, read: Any, told: Any
):
    shown = change(look_up, engine, name, value)

    assert getattr(now(engine), field) == read
    assert shown.value == (read if told is None else told)
    assert (shown.name, shown.changed_at, shown.broken) == (name, WHEN, False)
    assert live_settings.shown_one(engine, name) == shown


def test_every_setting_is_tried_by_that_table():
    assert {spec.name for spec in SPECS} == {name for name, *_ in WRITTEN}


REFUSED = [
    *[("maxLossAmount", value) for value in (0, -50, 51, 20.5, "a lot", "NaN", True, None, [], {}, 1e300)],
    *[("startingEquity", value) for value in (0, -1, 1_000_000_000.5, "Infinity")],
    *[("takerFee", value) for value in (-0.0001, 0.06, "0.1 %", "1e-100000")],
    ("makerFee", -0.06),
    ("makerFee", "0.0002000001"),
    *[("slippageBps", value) for value in (-1, 1000.5)],
    *[("cooldownMinutes", value) for value in (-1, 1441, 5.5)],
    *[("judgedSymbols", value) for value in (0, 1001, 1.5)],
    *[("coinClasses", value) for value in ([], "x", {"WIF": "tiny"}, {"WIF": []}, {"WIF": None}, {"": "small"})],
    ("coinClasses", {"x" * 21: "small"}),
    ("coinClasses", {f"C{number}": "small" for number in range(live_settings.MOST_COINS + 1)}),
    *[("exchangeFees", value) for value in ([], {"okx": 0.0005}, {"okx": {"both": 0}}, {"okx": {"taker": None}})],
    ("exchangeFees", {"okx": {"taker": -0.0001}}),
    ("exchangeFees", {"": {}}),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_what_a_setting_cannot_be_is_refused_and_changes_nothing(sqlite_engine: Engine, name: str, value: Any):
    with pytest.raises(InvalidInput, match=f"^{name}: ") as caught:
        change(LookUp(sqlite_engine, MemoryCache()), sqlite_engine, name, value)

    assert len(str(caught.value)) < 250
    assert now(sqlite_engine) == LiveSettings()
    assert traces(sqlite_engine) == []


def test_a_refusal_says_what_is_allowed(sqlite_engine: Engine):
    look_up = LookUp(sqlite_engine, MemoryCache())

    with pytest.raises(InvalidInput, match="51 is not one of 20, 50, 100, 200 USDT"):
        change(look_up, sqlite_engine, "maxLossAmount", 51)
    with pytest.raises(InvalidInput, match="'tiny' is not a class of coins: use mainstream, high-cap, hot, small"):
        change(look_up, sqlite_engine, "coinClasses", {"WIF": "tiny"})
    with pytest.raises(InvalidInput, match=r"5\.5 is not a whole number from 0 to 1440"):
        change(look_up, sqlite_engine, "cooldownMinutes", 5.5)


def test_a_name_that_is_none_names_those_there_are(sqlite_engine: Engine):
    look_up = LookUp(sqlite_engine, MemoryCache())

    for ask in (
        lambda: change(look_up, sqlite_engine, "maxloss", 50),
        lambda: live_settings.reset_setting(sqlite_engine, look_up, "maxloss", asking()),
        lambda: live_settings.shown_one(sqlite_engine, "maxloss"),
    ):
        with pytest.raises(NotFound) as caught:
            ask()
        assert "maxLossAmount" in caught.value.cure
        assert "coinClasses" in caught.value.cure


def test_a_change_is_audited_with_what_was_before(engine: Engine, look_up: LookUp):
    change(look_up, engine, "maxLossAmount", 50)
    change(look_up, engine, "maxLossAmount", "200")
    change(look_up, engine, "coinClasses", {"WIF": "small"})
    live_settings.reset_setting(engine, look_up, "maxLossAmount", asking())

    assert traces(engine) == [
        ("change_setting", "maxLossAmount", {"value": "100"}, {"value": "50"}),
        ("change_setting", "maxLossAmount", {"value": "50"}, {"value": "200"}),
        ("change_setting", "coinClasses", {"value": {}}, {"value": {"WIF": "small"}}),
        ("reset_setting", "maxLossAmount", {"value": "200"}, {"value": "100"}),
    ]
    with reading(engine) as db:
        assert {(row.actor, row.trace_id, row.at) for row in audit.recent(db, 9)} == {("a person", "t-1", WHEN)}


def test_the_same_value_again_changes_nothing_and_leaves_no_trace(engine: Engine, look_up: LookUp):
    change(look_up, engine, "takerFee", 0.0004)

    again = change(look_up, engine, "takerFee", "0.00040", at=later(60))

    assert again.changed_at == WHEN
    assert len(traces(engine)) == 1


def test_a_setting_that_is_reset_has_no_row(engine: Engine, look_up: LookUp):
    change(look_up, engine, "judgedSymbols", 7)

    shown = live_settings.reset_setting(engine, look_up, "judgedSymbols", asking())
    again = live_settings.reset_setting(engine, look_up, "judgedSymbols", asking())

    assert (shown.value, shown.default, shown.changed_at) == (50, 50, None)
    assert again == shown
    assert now(engine) == LiveSettings()
    assert [action for action, *_ in traces(engine)] == ["change_setting", "reset_setting"]


BROKEN = {
    "maxLossAmount": "150",
    "startingEquity": "much",
    "takerFee": "",
    "makerFee": "NaN",
    "slippageBps": "null",
    "cooldownMinutes": "true",
    "judgedSymbols": "1" * 5_000,
    "coinClasses": '{"WIF": []}',
    "exchangeFees": "[" * 20_000,
}


def test_rows_that_were_broken_by_hand_give_the_defaults_and_are_named(engine: Engine):
    write_by_hand(engine, **BROKEN)

    found = now(engine)

    assert sorted(found.broken) == sorted(spec.name for spec in SPECS)
    assert found == LiveSettings(broken=found.broken)
    assert all(one.broken and one.value == one.default for one in live_settings.shown(engine))


def test_one_broken_row_leaves_the_others_as_they_are(engine: Engine):
    write_by_hand(engine, maxLossAmount="20", cooldownMinutes="soon", log_days="x")

    found = now(engine)

    assert (found.max_loss_amount, found.cooldown_minutes, found.broken) == (Decimal(20), 5, ("cooldownMinutes",))


@pytest.mark.parametrize("value", [100, 50])
def test_a_broken_row_is_mended_by_a_change(engine: Engine, look_up: LookUp, value: int):
    write_by_hand(engine, maxLossAmount="150")

    shown = change(look_up, engine, "maxLossAmount", value)

    assert (shown.value, shown.broken) == (str(value), False)
    assert now(engine).broken == ()
    assert len(traces(engine)) == 1


def test_a_row_that_a_person_wrote_well_counts(engine: Engine):
    write_by_hand(engine, maxLossAmount="50.00", judgedSymbols="10", coinClasses='{"WIF": "small"}')

    found = now(engine)

    assert (found.max_loss_amount, found.judged_symbols, found.coin_classes) == (Decimal(50), 10, {"WIF": "small"})


def test_all_are_shown_with_what_they_are_for(engine: Engine, look_up: LookUp):
    change(look_up, engine, "slippageBps", 7.5)

    shown = live_settings.shown(engine)

    assert [one.name for one in shown] == [spec.name for spec in SPECS]
    assert all(one.description for one in shown)
    assert {one.name: (one.value, one.default) for one in shown if one.changed_at} == {"slippageBps": ("7.5", "5")}


def test_whoever_looks_a_setting_up_sees_a_change_at_once(engine: Engine, look_up: LookUp):
    write_by_hand(engine, maxLossAmount="50")
    assert look_up.config("maxLossAmount") is not None  # held from now on

    change(look_up, engine, "maxLossAmount", 200)
    changed = look_up.config("maxLossAmount")

    assert changed is not None
    assert (changed.config_value, changed.config_type) == ("200", "NUMBER")


def test_whoever_looks_a_setting_up_sees_at_once_that_it_is_gone(engine: Engine, look_up: LookUp):
    write_by_hand(engine, maxLossAmount="50")
    assert look_up.config("maxLossAmount") is not None  # held from now on

    live_settings.reset_setting(engine, look_up, "maxLossAmount", asking())

    assert look_up.config("maxLossAmount") is None


def test_the_largest_map_of_coins_fits_the_column(engine: Engine, look_up: LookUp):
    coins = {f"{number:03}{'币' * 17}": "mainstream" for number in range(live_settings.MOST_COINS)}

    change(look_up, engine, "coinClasses", coins)

    assert now(engine).coin_classes == coins


def test_a_coin_may_be_called_by_one_of_its_pairs(sqlite_engine: Engine, look_up: LookUp):
    change(look_up, sqlite_engine, "coinClasses", {"BTCUSDT": "small", "1000PEPE/USDT:USDT": "hot", "wif": "hot"})

    assert now(sqlite_engine).coin_classes == {"BTC": "small", "PEPE": "hot", "WIF": "hot"}


@pytest.mark.parametrize(
    ("name", "value"), [("coinClasses", {"💥": "small"}), ("exchangeFees", {"💥": {"taker": "0.0005"}})]
)
def test_what_cannot_be_a_name_is_refused(sqlite_engine: Engine, look_up: LookUp, name: str, value: dict):
    with pytest.raises(InvalidInput, match="is not the name of"):
        change(look_up, sqlite_engine, name, value)


def test_an_exchange_has_the_fees_of_its_own_and_else_those_of_all():
    own = {"okx": {"taker": Decimal("0.0004")}, "demo-htx": {"maker": Decimal(0)}, "htx": {"maker": Decimal("0.001")}}
    found = LiveSettings(taker_fee=Decimal("0.0006"), slippage_bps=Decimal(7), exchange_fees=own)

    fees = {name: (found.costs(name).taker_fee, found.costs(name).maker_fee) for name in ("okx", "binance", "demo-htx")}
    assert fees == {
        "okx": (Decimal("0.0004"), Decimal("0.0002")),
        "binance": (Decimal("0.0006"), Decimal("0.0002")),
        "demo-htx": (Decimal("0.0006"), Decimal(0)),
    }
    assert found.costs("okx").slippage_bps == 7


def test_a_simulated_exchange_costs_what_the_real_one_does():
    found = LiveSettings(exchange_fees={"okx": {"taker": Decimal("0.0004")}})

    assert found.costs("demo-okx") == found.costs("okx")


def test_a_class_of_a_coin_reaches_the_reading_of_v3(engine: Engine, look_up: LookUp):
    change(look_up, engine, "coinClasses", {"wif": "small", "1000PEPE": "mainstream"})
    classes = now(engine).coin_classes

    assert kind_of("WIF/USDT:USDT", classes) == "small"
    assert kind_of("1000PEPE/USDT:USDT", classes) == "mainstream"
    assert kind_of("ETH/USDT:USDT", classes) == "mainstream"
    assert kind_of("NOBODY/USDT:USDT", classes) == "hot"


@pytest.mark.parametrize("most", [1, 2, 4])
def test_so_many_symbols_are_judged_as_are_set(sqlite_engine: Engine, most: int, tmp_path: Path):
    with transaction(sqlite_engine) as db:
        for name in ("BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"):
            symbols.add(db, name, now=WHEN)
    change(LookUp(sqlite_engine, MemoryCache()), sqlite_engine, "judgedSymbols", most)
    bell, time = Bell(f"unix://{tmp_path}/nobody.sock"), MarketTime(int(WHEN.timestamp() * 1000))
    begin_cycle(sqlite_engine, bell, exchanges=("okx",), time=time, trace_id=None, now=WHEN)
    bell.close()

    with reading(sqlite_engine) as db:
        asked = tasks.get(db, tasks.next_pending(db, "strategy", now=later(10_000)) or 0)
    assert asked is not None
    assert asked.payload["symbols"] == ["BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"][:most]
