"""Exchanges: pure mappers from their messages to our values, and the connections that carry them. To add one: see table.py."""
