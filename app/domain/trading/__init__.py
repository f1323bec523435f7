"""Simulated trading: sizing, the one fill engine, the life of a trade, its account, statistics, calculators. Exact decimals."""
