"""The backend as an ASGI application."""

from starlette.applications import Starlette

from copr_operator.backend.http_agent import AgentRoutes
from copr_operator.backend.http_common import EXCEPTION_HANDLERS
from copr_operator.backend.http_control import ControlRoutes
from copr_operator.backend.http_results import ResultsRoutes
from copr_operator.backend.services import Services


def make_app(services: Services) -> Starlette:
    """`services` are started and closed by the caller."""
    routes = [
        *AgentRoutes(services).routes(),
        *ControlRoutes(services).routes(),
        *ResultsRoutes(services).routes(),
    ]
    app = Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS)
    app.router.redirect_slashes = False
    app.state.metrics = services.metrics
    return app
