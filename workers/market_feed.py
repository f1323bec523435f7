"""The process "market-feed": the only one that will talk to exchanges. It collects nothing yet and says so."""

import asyncio
import gc
import os

from app.host import lifecycle
from app.settings import load

IDLE = "idle: no collector yet"
_TURN_S = 1.0


async def idle(life: lifecycle.Life) -> None:
    """Turn the loop until asked to drain; each turn is the heartbeat, so a blocked loop is seen."""
    while not life.draining.is_set():
        life.beat(IDLE)
        await asyncio.sleep(_TURN_S)


def main() -> None:
    """Idle honestly."""
    settings = load(os.environ)
    life = lifecycle.begin("market-feed", settings.run_dir, level=settings.log.level)
    gc.freeze()
    asyncio.run(idle(life))


if __name__ == "__main__":
    main()
