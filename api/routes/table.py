"""Every route there is. The application, the documentation and its tests all read this."""

from api.routes import (
    control,
    health,
    market,
    monitoring,
    pages,
    push,
    qingxi,
    recovery,
    settings,
    statistics,
    strategies,
    symbols,
    system,
    tasks,
    tools,
    trades,
)
from api.routes.route import AnyRoute

ROUTES: tuple[AnyRoute, ...] = (
    *health.ROUTES,
    *system.ROUTES,
    *tasks.ROUTES,
    *control.ROUTES,
    *symbols.ROUTES,
    *market.ROUTES,
    *strategies.ROUTES,
    *settings.ROUTES,
    *statistics.ROUTES,
    *trades.ROUTES,
    *tools.ROUTES,
    *monitoring.ROUTES,
    *recovery.ROUTES,
    *push.ROUTES,
    *qingxi.ROUTES,
    *pages.ROUTES,
)
