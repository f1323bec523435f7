"""Column types: what goes in comes out, on every database; what does not fit is refused."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete, func, insert, select

from app.errors import InvalidInput
from app.storage.database import reading, transaction
from app.storage.tables import symbols, system_monitoring
from app.storage.types import ExactSum, from_sortable, in_units, to_sortable
from tests.builders import NOW

exact = st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**12) + 1, max_value=10**12 - 1)
lists_of_exact = st.lists(exact, min_size=1, max_size=8)
LARGEST = Decimal("999999999999.99999999")


@given(value=exact)
def test_sortable_text_keeps_every_decimal(value: Decimal):
    units, scale = from_sortable(to_sortable(in_units(value, 20, 8), 20, 8))

    assert Decimal(units).scaleb(-scale) == value


@given(one=exact, other=exact)
def test_the_order_of_texts_is_the_order_of_numbers(one: Decimal, other: Decimal):
    texts = [to_sortable(in_units(value, 20, 8), 20, 8) for value in (one, other)]

    assert (texts[0] < texts[1]) == (one < other)


@given(values=st.lists(st.integers(min_value=-(10**30), max_value=10**30), min_size=2, max_size=6))
def test_even_sums_that_outgrew_their_column_are_in_order(values: list[int]):
    texts = sorted(to_sortable(value, 20, 8) for value in values)

    assert [from_sortable(text)[0] for text in texts] == sorted(values)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=lists_of_exact)
def test_decimals_come_back_in_order_and_add_up(engine: Engine, values: list[Decimal]):
    price = symbols.c.last_price
    with transaction(engine) as db:
        db.execute(delete(symbols))
        db.execute(insert(symbols), [{"symbol": f"S{n}", "last_price": value} for n, value in enumerate(values)])
    with reading(engine) as db:
        ordered = list(db.execute(select(price).order_by(price)).scalars())
        least, most, total = db.execute(select(func.min(price), func.max(price), func.sum(price))).one()
        not_less = db.execute(select(func.count()).where(price >= values[0])).scalar()
        same = db.execute(select(func.count()).where(price == values[0])).scalar()

    assert ordered == sorted(values)
    assert (least, most, total) == (min(values), max(values), sum(values))
    assert not_less == sum(value >= values[0] for value in values)
    assert same == values.count(values[0])


def test_a_sum_may_outgrow_its_column(engine: Engine):
    with transaction(engine) as db:
        db.execute(insert(symbols), [{"symbol": f"S{n}", "volume_24h": LARGEST} for n in range(3)])
        total = func.sum(symbols.c.volume_24h)

        assert db.execute(select(total)).scalar() == 3 * LARGEST
        assert db.execute(select(func.count()).select_from(symbols).having(total > LARGEST)).scalar() == 3


def test_a_sum_counts_each_group_and_skips_the_unknown(engine: Engine):
    rows = [("S1", "ACTIVE", "0.1"), ("S2", "ACTIVE", "0.2"), ("S3", "INACTIVE", None), ("S4", "SUSPENDED", "-0.3")]
    with transaction(engine) as db:
        made = [{"symbol": s, "status": status, "last_price": p and Decimal(p)} for s, status, p in rows]
        db.execute(insert(symbols), made)
        query = select(symbols.c.status, func.sum(symbols.c.last_price)).group_by(symbols.c.status)
        sums = dict(db.execute(query).all())

    assert sums == {"ACTIVE": Decimal("0.3"), "INACTIVE": None, "SUSPENDED": Decimal("-0.3")}


def test_sums_of_other_columns_stay_sums(engine: Engine):
    with transaction(engine) as db:
        row = {"metric_type": "SYSTEM_HEALTH", "component": "api"}
        db.execute(insert(system_monitoring), [{**row, "total_count": 2}, {**row, "total_count": 3}])

        assert db.execute(select(func.sum(system_monitoring.c.total_count))).scalar() == 5


def test_a_sum_of_nothing_is_nothing():
    assert ExactSum().finalize() is None


@pytest.mark.parametrize(
    "value",
    [
        Decimal("0.123456789"),
        Decimal(10**12),
        Decimal(-(10**12)),
        Decimal("1E+1000000"),
        Decimal("1E-1000000"),
        Decimal("NaN"),
        Decimal("Infinity"),
        1.5,
        "1.5",
        True,
    ],
)
def test_what_is_no_decimal_of_that_size_is_refused(engine: Engine, value: object):
    with pytest.raises(InvalidInput), transaction(engine) as db:
        db.execute(insert(symbols).values(symbol="BTCUSDT", last_price=value))

    with reading(engine) as db:
        assert db.execute(select(func.count()).select_from(symbols)).scalar() == 0


@pytest.mark.parametrize("value", [Decimal("1.500000000000000000000"), Decimal("-0"), Decimal("1E+11"), 7, LARGEST])
def test_numbers_that_fit_are_kept_however_they_are_written(engine: Engine, value: Decimal):
    with transaction(engine) as db:
        db.execute(insert(symbols).values(symbol="BTCUSDT", last_price=value))

        assert db.execute(select(symbols.c.last_price)).scalar() == value


@pytest.mark.parametrize(
    "compute",
    [lambda c: c + 1, lambda c: c * 2, lambda c: -c, lambda c: 1 - c, lambda c: c / 2, lambda c: func.sum(c) / 2],
)
def test_sql_does_not_compute_with_decimals(compute):
    with pytest.raises(InvalidInput, match="SQL must not compute"):
        compute(symbols.c.last_price)


moments = st.datetimes(
    min_value=NOW.replace(year=1990, tzinfo=None),
    max_value=NOW.replace(year=2200, tzinfo=None),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9.5))]),
)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moment=moments)
def test_moments_come_back_to_the_microsecond_and_in_utc(engine: Engine, moment: datetime):
    with transaction(engine) as db:
        db.execute(delete(symbols))
        db.execute(insert(symbols).values(symbol="BTCUSDT", created_at=moment))
        found = db.execute(select(symbols.c.created_at).where(symbols.c.created_at == moment)).scalar_one()

    assert found == moment
    assert found.tzinfo is UTC


def test_moments_are_ordered_also_within_a_second(engine: Engine):
    moments = [NOW + timedelta(microseconds=n) for n in (0, 1, 999_999, 10)]
    with transaction(engine) as db:
        db.execute(insert(symbols), [{"symbol": f"S{n}", "created_at": at} for n, at in enumerate(moments)])
        found = list(db.execute(select(symbols.c.created_at).order_by(symbols.c.created_at)).scalars())

    assert found == sorted(moments)


def test_the_database_clock_agrees_with_ours(engine: Engine):
    """The servers of the tests live in another time zone: only our sessions make them speak UTC."""
    before = datetime.now(UTC)
    with transaction(engine) as db:
        db.execute(insert(symbols).values(symbol="BTCUSDT"))
        made = db.execute(select(symbols.c.created_at)).scalar_one()

    assert abs(made - before) < timedelta(minutes=1)


@pytest.mark.parametrize("moment", [NOW.replace(tzinfo=None), "2026-11-21"])
def test_a_time_without_a_zone_is_refused(engine: Engine, moment: object):
    with pytest.raises(InvalidInput, match="zone"), transaction(engine) as db:
        db.execute(insert(symbols).values(symbol="BTCUSDT", created_at=moment))


def test_a_word_that_is_not_allowed_is_refused_with_those_that_are(engine: Engine):
    with pytest.raises(InvalidInput, match="ACTIVE, INACTIVE, SUSPENDED"), transaction(engine) as db:
        db.execute(insert(symbols).values(symbol="BTCUSDT", status="ASLEEP"))


def test_text_that_is_too_long_is_refused(engine: Engine):
    with pytest.raises(InvalidInput, match="at most 20"), transaction(engine) as db:
        db.execute(insert(symbols).values(symbol="B" * 21))
