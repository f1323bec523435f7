"""Telling a person: a durable outbox of notices and the ways out of it."""
