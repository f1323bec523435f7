"""Every route there is. The application, the documentation and its tests all read this."""

from api.routes import control, health, pages, system, tasks
from api.routes.route import AnyRoute

ROUTES: tuple[AnyRoute, ...] = (
    *health.ROUTES,
    *system.ROUTES,
    *tasks.ROUTES,
    *control.ROUTES,
    *pages.ROUTES,
)
