"""Moving rows that are past their time into the archive: first into a file that is read back, then out of the database.

A kill loses nothing, for rows go only after their file has its manifest; and it doubles nothing, for rows that stand in an
archive already, line for line, are not written again: they only go. So do rows that a person had put back.
"""

import time
from datetime import datetime
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection, Engine

from app.domain.retention import FIRST_BATCH, GIVE_WAY_S, POLICY, Keep, next_batch
from app.domain.tasks import Slice, Task
from app.errors import CorruptData, InvalidInput
from app.host import archives
from app.host.vault import Vault
from app.storage import archived_rows, row_text
from app.storage.archived_rows import Due
from app.storage.database import reading
from app.storage.tables import SCHEMA_VERSION, metadata

KIND = "archive"
SUMMARY = "Write rows that are past their time into the archive, then delete them."
MOST_IN_A_FILE = 5_000
"""So many rows of inputs come to a second of work, and are read through in less."""
RULES = tuple(keep for keep in POLICY if keep.archive)


def begin(payload: dict[str, Any]) -> dict[str, Any]:
    """There is nothing to choose: the policy says it all."""
    if payload:
        raise InvalidInput("An archive takes no payload: app/domain/retention.py says what goes.")
    left = [keep.name for keep in RULES]
    return {"left": left, "going": [], "batch": FIRST_BATCH, "cleared": False, "archived": {}, "deleted": {}}


def work(engine: Engine, vault: Vault, task: Task, state: dict[str, Any], now: datetime) -> dict[str, Any]:  # noqa: ARG001 - one shape for all kinds
    """Write the next file, unless rows of the last one still have to go."""
    if not state["cleared"]:
        for rule in RULES:
            archives.remove_unfinished(vault.archives, rule.table)
        state = state | {"cleared": True}
    if state["going"]:
        time.sleep(GIVE_WAY_S)
        return state
    rules = {rule.name: rule for rule in RULES}
    while state["left"]:
        keep = rules.get(state["left"][0])  # a rule that was dropped since this task began moves nothing
        with reading(engine) as db:
            rows = _due(db, keep, now) if keep else []
            if keep and rows:
                written = _write(db, vault, keep, rows, now)
                count = state["archived"].get(keep.name, 0) + written
                archived = {**state["archived"], keep.name: count}
                return {**state, "going": [row.id for row in rows], "archived": archived}
        state = state | {"left": state["left"][1:]}
    return state


def step(db: Connection, task: Task, state: dict[str, Any], now: datetime) -> Slice:  # noqa: ARG001 - one shape for all kinds
    """Delete a batch of what stands in the archive."""
    left, going, batch = state["left"], state["going"], state["batch"]
    if left and going:
        table = {keep.name: keep.table for keep in RULES}[left[0]]
        began_s = time.monotonic()
        going, gone = archived_rows.remove(db, table, going, most=batch)
        batch = next_batch(batch, (time.monotonic() - began_s) * 1000)
        deleted = {**state["deleted"], left[0]: state["deleted"].get(left[0], 0) + gone}
        state = {**state, "going": going, "batch": batch, "deleted": deleted}
    result = {"archived": state["archived"], "deleted": state["deleted"]}
    return Slice(state, 1 - len(left) / max(1, len(RULES)), None if left else result)


def _due(db: Connection, keep: Keep, now: datetime) -> list[Due]:
    """The oldest rows that may go, all of one month."""
    moment = archived_rows.newest_close(db) if keep.judged else now
    if moment is None:  # nothing was judged yet, so nothing is old
        return []
    rows = archived_rows.due(
        db, keep.table, since=keep.since, found_by=keep.found_by, before=keep.before(moment), limit=MOST_IN_A_FILE
    )
    return [row for row in rows if _month(row.moment) == _month(rows[0].moment)]


def _write(db: Connection, vault: Vault, keep: Keep, rows: list[Due], now: datetime) -> int:
    """Write down those that do not stand in an archive yet; how many those were."""
    ids, month = [row.id for row in rows], _month(rows[0].moment)
    known: set[bytes] = set()
    for manifest in archives.beside(vault.archives, keep.table, month, min(ids), max(ids)):
        known |= _marks(vault, manifest)
    if known:
        ids = [
            row_text.from_line(line)[0] for line in archived_rows.lines(db, keep.table, ids) if _mark(line) not in known
        ]
    if not ids:
        return 0
    moments = sorted(row.moment for row in rows if row.id in set(ids))
    contents = archives.Contents(
        table=keep.table,
        month=month,
        columns=row_text.names(metadata.tables[keep.table]),
        parts=archived_rows.columns_of_parts(keep.table),
        schema=SCHEMA_VERSION,
        first_id=min(ids),
        last_id=max(ids),
        first_moment=moments[0].isoformat(),
        last_moment=moments[-1].isoformat(),
    )
    return archives.write(vault.archives, contents, archived_rows.lines(db, keep.table, ids), now.isoformat()).rows


def _marks(vault: Vault, manifest: archives.Manifest) -> set[bytes]:
    """The lines of an archive, shortened. Of one that is damaged none: its rows are written anew while they are there."""
    try:
        archives.verify(vault.archives, manifest)
    except CorruptData:
        return set()
    return {_mark(line) for line in archives.lines(vault.archives, manifest)}


def _mark(line: bytes) -> bytes:
    return blake2b(line, digest_size=16).digest()


def _month(moment: datetime) -> str:
    return f"{moment:%Y-%m}"
