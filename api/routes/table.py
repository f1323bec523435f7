"""Every route there is. The application, the documentation and its tests all read this."""

from api.routes import control, health, market, pages, push, qingxi, symbols, system, tasks
from api.routes.route import AnyRoute

ROUTES: tuple[AnyRoute, ...] = (
    *health.ROUTES,
    *system.ROUTES,
    *tasks.ROUTES,
    *control.ROUTES,
    *symbols.ROUTES,
    *market.ROUTES,
    *push.ROUTES,
    *qingxi.ROUTES,
    *pages.ROUTES,
)
