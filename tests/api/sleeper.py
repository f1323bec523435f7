"""A process of the small fleet that the API's tests steer: it lives as every process does, and works twice a second."""

import sys
from pathlib import Path

from app.host import lifecycle


def main() -> None:
    """Work until asked to drain."""
    life = lifecycle.begin(sys.argv[1], Path(sys.argv[2]))
    while not life.draining.wait(0.5):
        life.beat("slept")


if __name__ == "__main__":
    main()
