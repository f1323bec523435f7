"""The parts list of a worker that takes work from a queue."""

import hashlib
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from app.cache.bell import Bell
from app.host import lifecycle
from app.host.metrics import Metrics
from app.host.vault import Vault
from app.settings import Settings, load
from app.storage.database import open_engine

if TYPE_CHECKING:  # a worker that tells nothing need not carry it
    from app.usecases.tell_judged import Teller


@dataclass(frozen=True, slots=True)
class Parts:
    """Open handles and the clock, made once in main()."""

    settings: Settings
    life: lifecycle.Life
    engine: Engine
    bell: Bell
    metrics: Metrics
    now: Callable[[], datetime]
    teller: "Teller | None" = None
    """Of a worker whose work is news to others."""

    def tell(self, news: Sequence[Any]) -> None:
        """Tell the news of a task's slice, now that it is kept."""
        if self.teller is not None:
            self.teller.judged(news)

    @property
    def vault(self) -> Vault:
        """The folders of archives and backups."""
        backup = self.settings.backup
        return Vault(
            archives=self.settings.archive_dir,
            backups=self.settings.backup_dir,
            keep_daily=backup.keep_daily,
            keep_weekly=backup.keep_weekly,
            redis_url=self.settings.redis_url,
        )

    @property
    def worker(self) -> str:
        """Who this worker is: the same after a restart, different on another host or in another state folder."""
        place = hashlib.sha256(str(self.settings.state_dir).encode()).hexdigest()[:8]
        return f"{self.life.name}@{socket.gethostname()[:40]}:{place}"


def open_parts(name: str) -> Parts:
    """Read the settings, begin the life and open what this worker needs. Nothing is connected yet."""
    settings = load(os.environ)
    life = lifecycle.begin(name, settings.run_dir, level=settings.log.level)
    return Parts(
        settings=settings,
        life=life,
        engine=open_engine(settings.database_url, pool_size=settings.database.pool_size),
        bell=Bell(settings.redis_url),
        metrics=Metrics(),
        now=lambda: datetime.now(UTC),
    )
