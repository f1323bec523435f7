"""SQL: tables, then one module per aggregate. SQLAlchemy Core is the port; the same tests run on three databases."""
