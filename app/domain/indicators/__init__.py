"""Indicators: functions from matrices (symbols x bars) to matrices. To add one, write it beside what it is about, and its test."""
