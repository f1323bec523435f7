"""V3: the trend of 4h, the factors of 1h and the entry of 15m, fused into one verdict."""
