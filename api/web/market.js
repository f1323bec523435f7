// The market on the page of what runs: asked every few seconds like the rest, and live in between through the push stream.
"use strict";

const MOST_ROWS = 100;
const market = { exchange: "", stream: null, rows: new Map(), tickers: new Map(), books: new Map(), changed: new Set() };

// Prices span many sizes: six significant digits at least, and never fewer than the price's own cents.
function price(value) {
  if (value === null || value === undefined) return "–";
  const digits = Math.abs(value) >= 1000 ? 2 : Math.max(2, 6 - Math.ceil(Math.log10(Math.max(Math.abs(value), 1e-8))));
  return value.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: Math.min(digits, 10) });
}

function percentCell(value) {
  const mood = value > 0 ? "number good" : value < 0 ? "number bad" : "number";
  return element("td", value === null || value === undefined ? "–" : `${value > 0 ? "+" : ""}${value.toFixed(2)} %`, mood);
}

const moodOf = (word) =>
  ({ ok: "good", running: "good", live: "good", starting: "dim", warming: "dim", stopped: "dim", unknown: "dim" })[word] ||
  (word === "stale" || word === "degraded" ? "warn" : "bad");

function marketRow(symbol) {
  const ticker = market.tickers.get(symbol);
  const book = market.books.get(symbol) || "–";
  const name = element("th", symbol);
  name.scope = "row";
  return row([
    name,
    element("td", price(ticker.price), "number"),
    percentCell(ticker.change_24h_percent),
    element("td", price(ticker.bid), "number"),
    element("td", price(ticker.ask), "number"),
    book === "–" ? element("td", "–") : badge(book, moodOf(book)),
    badge(ticker.status, moodOf(ticker.status)),
  ]);
}

function showMarketRow(symbol) {
  const made = marketRow(symbol);
  const before = market.rows.get(symbol);
  if (before) before.replaceWith(made);
  else byId("market").append(made);
  market.rows.set(symbol, made);
}

// Many messages come in one moment; the page is drawn once for all of them.
function changed(symbol) {
  if (!market.tickers.has(symbol)) return;
  if (market.changed.size === 0) {
    requestAnimationFrame(() => {
      for (const each of market.changed) if (market.rows.has(each)) showMarketRow(each);
      market.changed.clear();
    });
  }
  market.changed.add(symbol);
}

function collectorRow(collector, state, quality) {
  const word = state ? state.state : "unknown";
  const name = element("th", collector.title || collector.name);
  name.scope = "row";
  const note = (state && state.note) || collector.note;
  if (note) name.append(element("small", note));
  return row([
    name,
    element("td", collector.desired),
    badge(word, moodOf(word)),
    element("td", state ? state.symbols.length : "–", "number"),
    element("td", state ? state.connections.filter((link) => link.state === "open").length : "–", "number"),
    element("td", quality ? known(quality.latency_ms_p99, 0) : "–", "number"),
    element("td", quality ? known(quality.score, 0) : "–", "number"),
  ]);
}

function showLive(word, mood) {
  byId("live").textContent = word;
  byId("live").className = `badge ${mood}`;
}

function listen() {
  if (market.stream) market.stream.close();
  const query = new URLSearchParams({ topics: "ticker,depth,collector", exchange: market.exchange });
  const stream = new EventSource(`/api/v1/market/stream?${query}`);
  market.stream = stream;
  const hear = (name, handler) => stream.addEventListener(name, (event) => handler(JSON.parse(event.data)));
  hear("hello", (said) => showLive(said.state, moodOf(said.state === "connecting" ? "starting" : said.state)));
  hear("live", () => showLive("streaming", "good"));
  hear("degraded", () => showLive("degraded", "warn"));
  hear("resync", () => refreshMarket());
  hear("bye", () => showLive("ended", "warn"));
  hear("collector", () => refreshMarket());
  hear("ticker", (said) => {
    // News of a ticker is all of it: what it does not say is not known now. A price that is no newer is worth what it was worth.
    const before = market.tickers.get(said.symbol);
    const newer = !before || before.timestamp === null || said.timestamp > before.timestamp;
    market.tickers.set(said.symbol, { ...said, status: newer ? "ok" : before.status });
    changed(said.symbol);
  });
  hear("depth", (said) => {
    market.books.set(said.symbol, said.status);
    const before = market.tickers.get(said.symbol);
    if (before && said.status === "ok") market.tickers.set(said.symbol, { ...before, bid: said.bid, ask: said.ask });
    changed(said.symbol);
  });
  stream.addEventListener("error", () => showLive("not streaming", "warn")); // the browser comes back by itself
}

function showExchanges(exchanges) {
  const box = byId("exchange");
  const names = exchanges.map((one) => one.name);
  if ([...box.options].map((option) => option.value).join() !== names.join()) {
    box.replaceChildren(...names.map((name) => Object.assign(element("option", name), { value: name })));
  }
  if (!names.includes(market.exchange)) {
    market.exchange = names[0] || "";
    if (market.exchange) listen();
  }
  box.value = market.exchange;
}

async function refreshMarket() {
  const exchanges = (await ask("/api/v1/market/exchanges")).data;
  if (!exchanges) return;
  showExchanges(exchanges.exchanges);
  if (!market.exchange) return;
  const asked = market.exchange;
  const [tickers, quality, listed, states] = await Promise.all([
    ask(`/api/v1/market/tickers?exchange=${encodeURIComponent(asked)}`),
    ask("/api/qingxi/data/quality"),
    ask("/api/qingxi/collectors/list"),
    ask("/api/qingxi/collectors/status"),
  ]);
  if (asked !== market.exchange || !tickers.data || !quality.data) return;
  const mine = quality.data.books.filter((book) => book.exchange === asked);
  market.books = new Map(mine.map((book) => [book.symbol, book.status]));
  market.tickers = new Map(tickers.data.tickers.map((ticker) => [ticker.symbol, ticker]));
  const shown = [...market.tickers.keys()].slice(0, MOST_ROWS);
  for (const [symbol, old] of market.rows) {
    if (!shown.includes(symbol)) {
      old.remove();
      market.rows.delete(symbol);
    }
  }
  shown.forEach(showMarketRow);
  const place = exchanges.exchanges.find((one) => one.name === asked);
  byId("no-market").textContent = `Nothing is watched yet: ${[`${asked} is ${place.state}`, place.note].filter(Boolean).join(", ")}.`;
  byId("no-market").hidden = shown.length > 0;
  byId("more-market").textContent = market.tickers.size > shown.length ? `${shown.length} of ${market.tickers.size} are shown.` : "";
  const state = new Map((states.data ? states.data.collectors : []).map((one) => [one.name, one]));
  const figures = new Map(quality.data.collectors.map((one) => [one.name, one.quality]));
  const collectors = listed.data ? listed.data.collectors : [];
  byId("collectors").replaceChildren(...collectors.map((one) => collectorRow(one, state.get(one.name), figures.get(one.name))));
  byId("no-collectors").hidden = collectors.length > 0;
  const silent = { ok: "", stale: "market-feed no longer reports: the states are old.", unknown: "market-feed has not reported yet." };
  byId("feed").textContent = silent[quality.data.feed];
}

byId("exchange").addEventListener("change", (event) => {
  market.exchange = event.target.value;
  for (const old of market.rows.values()) old.remove();
  market.rows.clear();
  listen();
  refreshMarket();
});

async function refreshMarketForever() {
  try {
    await refreshMarket();
  } catch {
    showLive("no answer", "bad"); // the page's own loop says what is wrong
  }
  setTimeout(refreshMarketForever, EVERY_MS);
}

refreshMarketForever();
