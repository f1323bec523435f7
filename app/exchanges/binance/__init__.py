"""Binance: USDT-M futures and spot behind one name.

Each stream is the page below that is named like it; a page is proof for the field names and the order of ids.

futures https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams
  routes    .../Important-WebSocket-Change-Notice: since 2026-04-23 books and tops come from /public alone, all else from /market
  candles   .../Kline-Candlestick-Streams           trades  .../Aggregate-Trade-Streams
  depth     .../Diff-Book-Depth-Streams             book    .../How-to-manage-a-local-order-book-correctly
  top       .../Individual-Symbol-Book-Ticker-Streams
  mark      .../Mark-Price-Stream                   ticker  .../Individual-Symbol-Ticker-Streams
spot https://developers.binance.com/docs/binance-spot-api-docs/web-socket-streams (one page for all)
REST https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api,
  https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
"""
