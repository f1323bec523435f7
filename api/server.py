"""The process "main-app": the HTTP API, its pages, and the reconciler that carries out what is wished of the fleet.

gevent's pywsgi serves it: one process with a greenlet for each connection meets the goal of 1,000 requests a second with room to
spare, reads the database faster than servers whose threads compete for one interpreter, and holds a thousand connections, soon of
push, where each of those would need a thread for every one. The figures, beside waitress, gunicorn and granian, come from
``python -m ops.bench.bench_http``.
"""


def main() -> None:
    """Make the standard library cooperative, before anything else is imported; only this process does that."""
    from gevent import monkey

    monkey.patch_all()

    from api import serving

    serving.run()


if __name__ == "__main__":
    main()
