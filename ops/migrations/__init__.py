"""The history of the tables. One module for each step in versions/, forward only; ops/migrate.py runs them."""
