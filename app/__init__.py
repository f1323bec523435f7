"""Flotilla without its shells: errors, the domain, the outside rooms and the use cases."""
