"""Both pages in a real browser: they show what is there, can be used by keyboard, and complain about nothing."""

import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Playwright, expect, sync_playwright
from werkzeug.serving import make_server

from api.deps import Deps
from api.main import create_app
from app.cache.market import MarketCache
from app.domain.market.market_clock import MarketClock
from app.host import feed_report, market_clock_file
from app.notify import outbox
from app.settings import Feed
from tests.api.conftest import Fleet
from tests.api.market import MARKET_MS, market_lived_in, report, ticker
from tests.builders import NOW

CHROMIUM = Path("/usr/bin/chromium")

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.skipif(
        not CHROMIUM.exists() and not os.environ.get("CI"),
        reason="There is no Chromium; on Debian: apt install chromium",
    ),
]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
    yield browser
    browser.close()


@pytest.fixture
def address(steered: Deps) -> Iterator[str]:
    """The application behind a socket."""
    outbox.post(steered.notices_dir, outbox.Notice("n-1", NOW, "warning", "monitor", "<b>not bold</b> & told"))
    server = make_server("127.0.0.1", 0, create_app(replace(steered, patience_s=5.0)), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    push = steered.hub.start()
    yield f"http://127.0.0.1:{server.server_port}"
    steered.hub.end()
    push.join(timeout=10)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that must not complain."""
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        not_ready = "status of 503" in message.text  # Chromium's own line about an answer that the page shows as it is
        if message.type in {"error", "warning"} and not not_ready:
            complaints.append(message.text)

    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []


def test_the_first_page_shows_what_runs(page: Page, address: str, fleet: Fleet):
    page.goto(address)

    expect(page.locator("#ready")).to_have_text("ready")
    for name in fleet.states():
        line = page.locator("#processes tr", has_text=name)
        expect(line).to_contain_text("running")
        expect(line).to_contain_text("slept")
    expect(page.locator("#checks tr", has_text="database")).to_contain_text(re.compile(r"Schema \d{4}\."))
    expect(page.locator("#notices tr")).to_contain_text("<b>not bold</b> & told")
    expect(page.locator("#facts")).to_contain_text("yes")
    expect(page.locator("#problems")).to_be_hidden()
    for name in ("API", "Health", "Metrics", "OpenAPI"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()


@pytest.fixture
def market(steered: Deps, valkey_url: str) -> Iterator[MarketCache]:
    """A market of now, and what tells its news."""
    market_lived_in(steered)
    now_ms = time.time_ns() // 1_000_000
    clock = MarketClock(now_ms, MARKET_MS, 0.001)
    market_clock_file.write(market_clock_file.path_in(steered.settings.state_dir), clock)
    feed_report.write(steered.run_dir, report(at_ms=now_ms))
    cache = MarketCache(valkey_url)
    cache.put_tickers([ticker(price=43250.5, bid=43249.5, ask=43251.0, change_24h_percent=5.76)])
    yield cache
    cache.close()


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_simulated_market_is_said_to_be_one_even_without_scripts(browser: Browser, address: str, path: str):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}{path}")

    expect(page.locator("#simulated")).to_be_visible()
    expect(page.locator("#simulated")).to_contain_text("SIMULATED")
    expect(page.locator("#simulated")).to_contain_text("模拟")
    context.close()


def test_a_live_market_has_no_such_banner(deps: Deps):
    live = msgspec.structs.replace(deps.settings, feed=Feed(exchanges=("binance",)))
    client = create_app(replace(deps, settings=live)).test_client()

    assert "SIMULATED" not in client.get("/").text + client.get("/docs").text
    assert "SIMULATED" in create_app(deps).test_client().get("/").text


def test_the_market_is_shown_and_lives(page: Page, address: str, market: MarketCache, tmp_path: Path):
    page.goto(address)
    btc = page.locator("#market tr", has_text="BTC/USDT:USDT")
    for text in ("43,250.50", "+5.76 %", "43,249.50", "43,251.00", "ok"):
        expect(btc).to_contain_text(text)
    expect(page.locator("#market tr", has_text="ETH/USDT:USDT")).to_contain_text("warming")
    expect(page.locator("#collectors tr", has_text="Demo-Binance")).to_contain_text("97")
    expect(page.locator("#collectors tr", has_text="Demo-Okx")).to_contain_text("unknown")
    expect(page.locator("#live")).to_have_text("streaming")

    newest = [ticker(price=44_000.25, change_24h_percent=-1.5)]
    market.put_tickers(newest)
    market.tell(newest)

    expect(btc).to_contain_text("44,000.25", timeout=3_000)  # sooner than the page asks again
    expect(btc).to_contain_text("-1.50 %")
    page.screenshot(path=os.environ.get("FLOTILLA_TEST_SCREENSHOT", str(tmp_path / "page.png")), full_page=True)


def test_while_nothing_is_watched_the_page_says_what_its_collector_does(page: Page, address: str, steered: Deps):
    (one,) = report().collectors
    failing = msgspec.structs.replace(one, state="failing", note="127.0.0.1 does not answer", symbols=())
    feed_report.write(steered.run_dir, msgspec.structs.replace(report(), collectors=(failing,)))
    page.goto(address)

    expect(page.locator("#no-market")).to_have_text(
        "Nothing is watched yet: demo-binance is failing, 127.0.0.1 does not answer."
    )


def test_news_of_an_old_price_leaves_it_old_and_what_it_no_longer_says_is_unknown(
    page: Page, address: str, market: MarketCache
):
    market.put_tickers([ticker(age_ms=500_000, price=10.0, change_24h_percent=1.25)])
    page.goto(address)
    btc = page.locator("#market tr", has_text="BTC/USDT:USDT")
    expect(btc).to_contain_text("stale")
    expect(page.locator("#live")).to_have_text("streaming")

    market.tell([ticker(age_ms=500_000, price=11.0)])

    expect(btc).to_contain_text(re.compile(r"11\.00\s*\u2013.*stale"), timeout=4_000)


def test_another_exchange_can_be_chosen(page: Page, address: str, market: MarketCache):
    market.put_tickers([ticker("demo-okx", price=2.5)])
    page.goto(address)
    expect(page.locator("#market tr", has_text="BTC/USDT:USDT")).to_contain_text("43,250.50")

    page.get_by_label("Exchange").select_option("demo-okx")

    expect(page.locator("#market tr", has_text="BTC/USDT:USDT")).to_contain_text("2.50")


def test_the_api_page_shows_the_beginning_of_the_stream(page: Page, address: str):
    page.goto(f"{address}/docs#get_api_v1_market_stream")
    box = page.locator("#get_api_v1_market_stream")
    box.get_by_role("button", name="Try it").click()

    expect(box.locator(".result")).to_contain_text("→ 200")
    expect(box.locator("form pre")).to_contain_text("event: hello")


def test_the_first_page_refreshes_itself(page: Page, address: str, fleet: Fleet):
    page.goto(address)
    line = page.locator("#processes tr", has_text="market-feed")
    expect(line).to_contain_text("running")

    fleet.supervisor.stop("market-feed")

    try:
        expect(line).to_contain_text("stopped", timeout=20_000)
    finally:
        fleet.supervisor.start("market-feed")
    expect(line).to_contain_text("running", timeout=20_000)


def test_the_api_page_explains_and_tries_an_operation(page: Page, address: str):
    page.goto(f"{address}/docs")
    page.locator("#get_api_system_logs > summary").click()
    box = page.locator("#get_api_system_logs")
    expect(box).to_contain_text("At least of this level.")

    box.get_by_label("lines (optional)").fill("3")
    box.get_by_label("level (optional)").select_option("WARNING")
    box.get_by_role("button", name="Try it").click()

    expect(box.locator(".result")).to_contain_text("GET /api/system/logs?lines=3&level=WARNING → 200")
    expect(box.locator("form pre")).to_contain_text('"success": true')


def test_the_api_page_sends_a_body_and_fills_in_a_path(page: Page, address: str):
    page.goto(f"{address}/docs#post_api_system_tasks")
    asked = page.locator("#post_api_system_tasks")
    asked.get_by_role("button", name="Try it").click()
    expect(asked.locator(".result")).to_contain_text("→ 202")

    page.locator("#get_api_system_tasks_id > summary").click()
    read = page.locator("#get_api_system_tasks_id")
    read.get_by_label("id", exact=True).fill("1")
    read.get_by_role("button", name="Try it").click()

    expect(read.locator(".result")).to_contain_text("GET /api/system/tasks/1 → 200")
    expect(read.locator("form pre")).to_contain_text('"kind": "drill"')


def test_every_operation_opens_and_can_be_tried(page: Page, address: str):
    page.goto(f"{address}/docs")
    boxes = page.locator("details.operation")
    expect(boxes.first).to_be_visible()

    for number in range(boxes.count()):
        box = boxes.nth(number)
        box.locator("> summary").click()
        expect(box.get_by_role("button", name="Try it")).to_be_visible()
        box.locator("> summary").click()


def test_the_api_page_works_by_keyboard(page: Page, address: str):
    page.goto(f"{address}/docs")
    expect(page.locator("details.operation").first).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()

    page.locator("#get_health_live > summary").focus()
    page.keyboard.press("Enter")
    button = page.locator("#get_health_live").get_by_role("button", name="Try it")
    expect(button).to_be_visible()
    for _ in range(12):
        if button.evaluate("button => button === document.activeElement"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")

    expect(page.locator("#get_health_live .result")).to_contain_text("→ 200")


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_dark_room_gets_a_dark_page(browser: Browser, address: str, path: str):
    shades = []
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(f"{address}{path}")
        shades.append(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"))
        context.close()

    assert sum(shades[0]) > 600 > 200 > sum(shades[1])


def test_the_pages_ask_nobody_else(page: Page, address: str):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for path in ("/", "/docs"):
        page.goto(f"{address}{path}", wait_until="networkidle")

    assert asked
    assert [url for url in asked if not url.startswith(address)] == []


def test_the_first_page_says_plainly_what_is_away(browser: Browser, address: str, fleet: Fleet):
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    expect(page.locator("#ready")).to_have_text("ready", timeout=20_000)

    fleet.stop()
    try:
        expect(page.locator("#ready")).to_have_text("not ready", timeout=20_000)
        expect(page.locator("#problems")).to_contain_text("supervisord does not answer")
        expect(page.locator("#problems")).to_contain_text("make run")
        page.route("**/api/**", lambda route: route.abort())
        expect(page.locator("#ready")).to_have_text("no answer", timeout=20_000)
        expect(page.locator("#problems")).to_contain_text("The API does not answer")
    finally:
        fleet.start()
        context.close()
