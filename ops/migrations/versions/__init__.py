"""Steps of the tables' history. A step that was released is never edited: write the next one, and raise SCHEMA_VERSION."""
