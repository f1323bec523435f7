"""Which name means which adapter."""

import pytest
from msgspec import structs

from app.errors import Misconfigured
from app.exchanges.demo.addresses import urls_for
from app.exchanges.table import EXCHANGES, make, venue_of
from app.settings import ROOT, Settings


def test_no_adapter_is_forgotten():
    rooms = {path.parent.name for path in (ROOT / "app" / "exchanges").glob("*/mapper.py")}
    assert rooms == set(EXCHANGES), "Name it in app/exchanges/table.py."


@pytest.mark.parametrize("venue", EXCHANGES)
def test_a_venue_is_made_from_its_section_of_the_settings(venue: str):
    live = make(venue, structs.asdict(getattr(Settings(), venue)))
    assert (live.name, live.ccxt_id, venue_of(f"demo-{venue}")) == (venue, venue, venue)
    assert "https://" in str(live.ccxt_urls)


@pytest.mark.parametrize("venue", EXCHANGES)
def test_a_demo_is_the_same_adapter_at_other_addresses_under_its_own_name(venue: str):
    demo = make(f"demo-{venue}", urls_for(8090)[venue])
    assert (demo.name, demo.ccxt_id) == (f"demo-{venue}", venue)
    assert "http://127.0.0.1:8090/" in str(demo.ccxt_urls)
    assert type(demo) is type(make(venue, urls_for(8090)[venue]))


def test_any_other_name_is_one_of_ccxts_asked_by_rest_alone():
    assert (make("kraken", {}).name, make("kraken", {}).sessions([])) == ("kraken", [])


@pytest.mark.parametrize("name", ["krakn", "demo-kraken", ""])
def test_a_name_that_nobody_knows_stops_the_start(name: str):
    with pytest.raises(Misconfigured):
        make(name, {})
