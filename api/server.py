"""The process "main-app": the HTTP API, its pages, and the reconciler that carries out what is wished of the fleet.

It is served by gevent's pywsgi: one process with a greenlet for each connection holds a thousand connections, soon of push, in
the memory of one process, and answers the goal of 1,000 requests a second several times over, while thread servers pay a thread
for each and a second process more memory. The figures, against waitress, gunicorn and granian: python -m ops.bench.bench_http
"""


def main() -> None:
    """Make the standard library cooperative, before anything else is imported; only this process does that."""
    from gevent import monkey

    monkey.patch_all()

    from api import serving

    serving.run()


if __name__ == "__main__":
    main()
