"""Replay: recorded files as if an exchange said them now, at any speed. ``frames`` plays, the other modules read."""
