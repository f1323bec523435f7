"""The cache and the bell in Redis. Every key is declared in keys.py with its lifetime."""
