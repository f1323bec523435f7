"""The pages for people, and the document that describes the API. Everything a page needs comes from here: no CDN."""

from functools import cache
from pathlib import Path

import msgspec

from api.routes.route import JSON, Call, File, Nothing, Reply, Route

WEB = Path(__file__).resolve().parents[1] / "web"
ASSETS = ("flotilla.css", "index.js", "market.js", "docs.js", "icon.svg")
# Said by the page itself, without a script, in the languages of those who may take the numbers for real.
_BANNER = "simulated.html"
_BANNER_PLACE = b"<!-- simulated -->"
_HTML = "text/html; charset=utf-8"
_MEDIA = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}


def overview(call: Call[Nothing]) -> Reply[File]:
    """The page of what runs."""
    return Reply(File(_page("index.html", simulated=call.deps.settings.simulated)))


def docs(call: Call[Nothing]) -> Reply[File]:
    """The page that explains the API."""
    return Reply(File(_page("docs.html", simulated=call.deps.settings.simulated)))


def openapi(_call: Call[Nothing]) -> Reply[File]:
    """The document that describes the API."""
    return Reply(File(_document()))


def _asset(name: str) -> Route[Nothing, File]:
    def serve(_call: Call[Nothing]) -> Reply[File]:
        """Serve one file as it is."""
        return Reply(File(_read(name)))

    media = _MEDIA[name.rpartition(".")[2]]
    return Route("GET", f"/web/{name}", serve, "pages", f"A part of the pages: {name}", Nothing, File, media=media)


@cache
def _read(name: str) -> bytes:
    return (WEB / name).read_bytes()


@cache
def _page(name: str, *, simulated: bool) -> bytes:
    return _read(name).replace(_BANNER_PLACE, _read(_BANNER) if simulated else b"")


@cache
def _document() -> bytes:
    from api.openapi import document  # late: the table names this very route
    from api.routes.system import version
    from api.routes.table import ROUTES as TABLE

    return msgspec.json.encode(document(TABLE, version()))


ROUTES = (
    Route("GET", "/", overview, "pages", "The page of what runs", Nothing, File, media=_HTML),
    Route("GET", "/docs", docs, "pages", "The page that explains the API", Nothing, File, media=_HTML),
    Route("GET", "/openapi.json", openapi, "pages", "This document", Nothing, File, media=JSON),
    *(_asset(name) for name in ASSETS),
)
