"""Alerts: rules as data, and the pure function that steps an alert from one look to the next."""
