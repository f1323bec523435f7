"""Paper trading: what strategies judge, carried out on accounts that are not real."""
