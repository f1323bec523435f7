"""What we know: pure functions and values. No clock, no network, no store, no log."""
