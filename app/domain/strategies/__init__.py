"""Strategies: what a market says at one moment, and what follows from it. To add one, write its room and name it in table.py."""
