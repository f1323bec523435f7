"""ICT: the daily trend, an order block of 4h, a sweep of the stops beyond it, and the engulfing candle of 15m that follows."""
