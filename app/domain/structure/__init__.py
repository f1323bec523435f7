"""Price structure: functions from one symbol's candles to what they show, each with the bar at which it was knowable."""
