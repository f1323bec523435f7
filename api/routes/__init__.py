"""One module per API resource; to add one, write it and name it in table.py."""
