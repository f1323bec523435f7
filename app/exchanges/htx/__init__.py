"""HTX, once Huobi: USDT-M perpetuals and spot, each with its own hosts, by https://www.htx.com/en-us/opend/newApiPages/

Perpetuals ``market.$contract_code.`` ``kline.1min`` (candles) · ``trade.detail`` (trades) · ``depth.size_150.high_freq`` (depth) ·
``bbo`` (top) · ``detail`` (ticker), and ``public.$contract_code.funding_rate`` (mark) on the notification socket.
Spot ``market.$symbol.`` ``kline.1min`` · ``trade.detail`` · ``bbo`` · ``detail``, and ``mbp.150`` (depth) on the feed socket.
By REST: mark prices and open interest.
"""
