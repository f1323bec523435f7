"""The demo exchange: a generated market, and the servers that speak real exchanges' protocols over it."""
