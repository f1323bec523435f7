"""The application: every route of the table behind one door, in one envelope, with one way of telling errors."""

import logging
import re
import time
from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from flask import Flask, Response, g, request

from api import door, envelope
from api.deps import Deps
from api.errors import problem
from api.hub import nothing_to_cut
from api.routes.route import JSON, Answer, AnyRoute, Call, File, Stream
from api.routes.table import ROUTES
from app.errors import FlotillaError
from app.host.logs import trace_id

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
CUT = "flotilla.cut"  # where our server leaves what cuts the request's connection off
SIMULATED = "X-Flotilla-Simulated"
UNMATCHED = "(no such path)"
HEADERS = (
    (
        "Content-Security-Policy",
        "default-src 'self'; base-uri 'none'; object-src 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
)
_log = logging.getLogger("api")


def create_app(deps: Deps, routes: Sequence[AnyRoute] = ROUTES) -> Flask:
    """Make the application from open handles. It starts nothing and connects to nothing."""
    app = Flask("api", static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = door.MAX_BODY + 1  # Flask reads so far and no farther; the door says the rest
    app.url_map.merge_slashes = False  # a path is either in the table or unknown
    shell = _Shell(deps, routes)
    for route in routes:
        app.add_url_rule(
            rule_of(route.path),
            endpoint=route.name,
            view_func=shell.view(route),
            methods=[route.method],
            provide_automatic_options=False,
        )
    app.before_request(shell.arrive)
    app.after_request(shell.leave)
    app.teardown_request(shell.forget)
    app.register_error_handler(Exception, shell.fail)
    return app


def rule_of(path: str) -> str:
    """A path in Flask's words. A symbol may hold a slash, which arrives as such even where it was sent as %2F."""
    return re.sub(r"{(\w+)}", lambda found: f"<{'path:' * (found[1] == 'symbol')}{found[1]}>", path)


class _Shell:
    """What happens around every handler."""

    def __init__(self, deps: Deps, routes: Sequence[AnyRoute]) -> None:
        self._deps = deps
        self._zone = ZoneInfo(deps.settings.clock.timezone)
        self._simulated = deps.settings.simulated
        self._said = "true" if self._simulated else "false"
        self._paths = sorted({route.path for route in routes})
        self._by_name = {route.name: route for route in routes}

    def view(self, route: AnyRoute) -> Callable[..., Response]:
        """Make Flask's view of a route: check, handle, write."""

        def answer(**in_path: str) -> Response:
            asked = door.read(route, request, in_path)
            now = self._deps.now()
            last_event_id = request.headers.get("Last-Event-ID")
            reply = route.handler(Call(self._deps, asked, now, g.trace_id, last_event_id=last_event_id))
            if reply.error is not None:
                return self.tell(reply.error, reply.data)
            if isinstance(reply.data, File):
                return Response(reply.data.body, reply.status, content_type=route.media)
            if isinstance(reply.data, Stream):
                pieces = reply.data.pieces(request.environ.get(CUT, nothing_to_cut))
                return Response(pieces, reply.status, headers={"X-Accel-Buffering": "no"}, content_type=route.media)
            body = envelope.encode(now.astimezone(self._zone), simulated=self._simulated, data=reply.data)
            return Response(body, reply.status, content_type=JSON)

        return answer

    def fail(self, error: Exception) -> Response:
        """Answer with what was raised. What nobody foresaw is logged in full."""
        response = self.tell(error)
        if response.status_code >= 500:
            foreseen = isinstance(error, FlotillaError)
            _log.error(
                "%s %s failed: %s", request.method, request.path[:200], error, exc_info=None if foreseen else error
            )
        return response

    def tell(self, error: Exception, data: Answer | None = None) -> Response:
        """Answer with an error."""
        found = problem(error, method=request.method, path=request.path, paths=self._paths)
        now = self._deps.now().astimezone(self._zone)
        body = envelope.encode(now, simulated=self._simulated, data=data, error=found.body(g.trace_id))
        return Response(body, found.status, headers=dict(found.headers), content_type=JSON)

    def arrive(self) -> None:
        """Bind the trace id and refuse foreigners, before anything is looked up."""
        g.began_s = time.perf_counter()
        g.trace_id = door.trace_id_of(request.headers)
        g.outer = trace_id.set(g.trace_id)
        door.refuse_foreign(request.method, request.headers.get("Host", ""), request.headers.get("Origin"))

    def leave(self, response: Response) -> Response:
        """Count and log the answer, and give it the headers that all have."""
        took_s = time.perf_counter() - g.began_s
        route = self._by_name.get(request.endpoint or "")
        shown = route.path if route else UNMATCHED
        method = request.method if request.method in METHODS else "OTHER"
        status = response.status_code
        self._deps.metrics.count("flotilla_http_requests_total", method=method, route=shown, status=status)
        self._deps.metrics.observe("flotilla_http_request_seconds", took_s, route=shown)
        if route is None or not route.quiet:
            extra = {"ms": round(took_s * 1000, 2), "path": request.path[:200]}
            _log.info("%s %s %d", method, shown, status, extra=extra)
        response.headers.extend((*HEADERS, ("X-Trace-Id", g.trace_id), (SIMULATED, self._said)))
        return response

    def forget(self, _error: BaseException | None) -> None:
        """The next request in this thread has another trace id."""
        trace_id.reset(g.outer)
