"""Files that are replaced whole or not at all, so that no reader ever sees half of one."""

import os
import threading
from pathlib import Path


def replace(path: Path, data: bytes, *, durable: bool = False) -> None:
    """Put ``data`` in the place of what the file held; where ``durable``, it is there after a power cut too.

    Raises OSError, such as for a full disk, and then leaves the old one, and nothing beside it that would keep the disk full.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.new")
    try:
        with draft.open("wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
