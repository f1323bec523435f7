"""The process "strategy-worker": takes work from the queue ``strategy``, which more hosts may take too."""

from workers.celery_app import serve
from workers.parts import open_parts


def main() -> None:
    """Take work until asked to drain."""
    serve(open_parts("strategy-worker"), "strategy")


if __name__ == "__main__":
    main()
