"""The market as values: symbols, timeframes, trades, candles, books, and what makes them trustworthy. Pure."""
