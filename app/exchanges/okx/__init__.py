"""OKX: perpetuals and spot of https://www.okx.com/docs-v5/en/ by one mapper, two streams (public, business) and its REST API.

candles ``#order-book-trading-market-data-ws-candlesticks-channel`` (business stream) · trades ``…-ws-trades-channel`` · depth and
top ``…-ws-order-book-channel`` · ticker ``…-ws-tickers-channel`` · mark ``#public-data-websocket-mark-price-channel``,
``…-funding-rate-channel`` and ``…-index-tickers-channel`` · open_interest ``…-open-interest-channel``
"""
