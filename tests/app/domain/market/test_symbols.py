"""Every common spelling of a symbol, one form inside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.market.symbols import LONGEST, QUOTES, SETTLES, Symbol, parse, taken_apart
from app.errors import InvalidInput


@pytest.mark.parametrize(
    "text",
    [
        "BTC/USDT:USDT", "btc/usdt:usdt", "BTCUSDT", "btcusdt", " BTCUSDT ", "BTC-USDT", "BTC_USDT", "btc-usdt", "BTC-USDT-SWAP",
        "BTCUSDT.P", "BTCUSDT-PERP", "BTCUSDT_PERP", "BTC_USDT_USDT", "BTC-USDT-PERPETUAL",
    ],
)  # fmt: skip
def test_what_does_not_say_otherwise_is_the_perpetual(text: str):
    assert parse(text) == "BTC/USDT:USDT"


@pytest.mark.parametrize("text", ["BTC/USDT", "btc/usdt"])
def test_a_slash_alone_is_spot(text: str):
    assert parse(text) == parse(text, spot=True) == "BTC/USDT"


@pytest.mark.parametrize("text", ["BTCUSDT", "btc-usdt", "BTC_USDT", "BTC/USDT"])
def test_spot_can_be_asked_for(text: str):
    assert parse(text, spot=True) == "BTC/USDT"


@pytest.mark.parametrize("text", ["BTC-USDT-SWAP", "BTCUSDT.P", "BTC/USDT:USDT", "BTC_USDT_USDT"])
def test_what_says_that_it_is_a_perpetual_is_one_although_spot_is_asked_for(text: str):
    assert parse(text, spot=True) == "BTC/USDT:USDT"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ETHBTC", "ETH/BTC"),
        ("1000PEPEUSDT", "1000PEPE/USDT:USDT"),
        ("BTCFDUSD", "BTC/FDUSD:FDUSD"),
        ("BTCUSDC", "BTC/USDC:USDC"),
        ("USDCUSDT", "USDC/USDT:USDT"),
        ("BTCUSD", "BTC/USD"),
        ("DOTUSD", "DOT/USD"),
        ("XBTUSD", "XBT/USD"),
        ("BTCTUSD", "BTC/TUSD"),
        ("BROCCOLI714USDT", "BROCCOLI714/USDT:USDT"),
        ("BTC/USD:BTC", "BTC/USD:BTC"),
        ("BNBBTC", "BNB/BTC"),
        ("TUSDUSDT", "TUSD/USDT:USDT"),
    ],
)
def test_the_quote_coin_is_found_where_nothing_separates_it(text: str, name: str):
    assert parse(text) == name


@pytest.mark.parametrize(
    "text",
    ["", " ", "/", ":", "BTC", "USDT", "BTC/", "/USDT", "BTC/USDT:", "BTC/BTC", "BTC-USDT-230630", "BTC/USDT:USDT-230630", "A/B/C",
     "BTC USDT",
     "BTC/USDT:USDT:X", "\uff22\uff34\uff23USDT", "\u0431\u0442/usdt", "BTC/USDT'", "X" * 40,
     "ABCDEFGHIJKLMNOPQRSTU/USDT:USDT", "BTC-USDT-SWAP-SWAP"],
)  # fmt: skip
def test_what_is_no_symbol_is_refused(text: str):
    with pytest.raises(InvalidInput) as refusal:
        parse(text)

    assert "not a symbol" in str(refusal.value)


coins = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=6)


@given(base=coins, quote=st.sampled_from(QUOTES), perpetual=st.booleans())
def test_our_form_is_read_as_itself(base: str, quote: str, perpetual: bool):
    symbol = Symbol(base, quote, quote if perpetual else None)
    if base == quote or len(symbol.name) > LONGEST:
        return

    assert parse(symbol.name) == parse(symbol.name.lower()) == symbol.name
    assert taken_apart(symbol.name) == symbol
    assert taken_apart(symbol.name).is_perpetual == perpetual


@given(base=coins, quote=st.sampled_from(sorted(SETTLES)))
def test_every_separated_spelling_of_a_perpetual_is_the_same(base: str, quote: str):
    name = f"{base}/{quote}:{quote}"
    if base == quote or len(name) > LONGEST or base in {"SWAP", "PERP", "P"}:
        return

    assert {parse(f"{base}-{quote}-SWAP"), parse(f"{base}-{quote}"), parse(f"{base}_{quote}_{quote}")} == {name}


@pytest.mark.parametrize("text", ["BTC-USD-SWAP", "BTCUSD_PERP", "ETHUSD.P"])
def test_a_perpetual_in_dollars_must_say_in_which_coin_it_is_settled(text: str):
    with pytest.raises(InvalidInput) as refusal:
        parse(text)

    assert "/USD:" in refusal.value.cure


@given(base=coins, quote=st.sampled_from(["USDT", "USDC", "BTC"]))
def test_a_joined_spelling_keeps_its_letters(base: str, quote: str):
    if base == quote:
        return

    assert taken_apart(base + quote).joined == base + quote


@given(st.text(max_size=40))
def test_any_text_is_a_symbol_or_refused(text: str):
    try:
        name = parse(text)
    except InvalidInput:
        return

    assert parse(name) == name
    assert len(name) <= LONGEST
