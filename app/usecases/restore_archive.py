"""Putting the rows of an archive back: with their ids, in short transactions, and without touching what is there.

So it may be cut off and done again. In the database that they came from, the next night moves them out again.
"""

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import Engine

from app.errors import CorruptData
from app.host import archives
from app.storage import archived_rows, row_text
from app.storage.database import transaction
from app.storage.tables import metadata

PAGE = 200
"""Rows in one transaction, not counting what belongs to them: another writer waits for no more."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of the rows of an archive: some came back, some were there, and some found another row in their place."""

    name: str
    table: str
    rows: int
    put_back: int
    were_there: int
    refused: int

    @property
    def well(self) -> bool:
        """Whether all of them are there now."""
        return self.refused == 0


def restore_archive(engine: Engine, folder: Path, name: str) -> Restored:
    """Put the rows back. Raises NotFound, and CorruptData, before anything is written, for an archive that is not whole."""
    manifest = archives.get(folder, name)
    if manifest.table not in metadata.tables or not set(manifest.parts) <= set(metadata.tables):
        raise CorruptData(
            f"There is no table {manifest.table} here.", cure="Use the version of Flotilla that wrote the archive."
        )
    archives.verify(folder, manifest)
    left = archives.lines(folder, manifest)
    put_back = refused = 0
    while page := [row_text.from_line(line) for line in islice(left, PAGE)]:
        with transaction(engine) as db:
            done = archived_rows.put_back(db, manifest.table, manifest.columns, manifest.parts, page)
        put_back += done.rows
        refused += done.refused
    return Restored(name, manifest.table, manifest.rows, put_back, manifest.rows - put_back - refused, refused)
