"""The frontend as an ASGI application."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from copr_operator import __version__
from copr_operator.frontend.http import API, EXCEPTION_HANDLERS, WithoutSlashes, answer, route
from copr_operator.frontend.http_builds import BuildRoutes
from copr_operator.frontend.http_create import CreateRoutes
from copr_operator.frontend.http_general import GeneralRoutes
from copr_operator.frontend.http_packages import PackageRoutes
from copr_operator.frontend.http_projects import ProjectRoutes
from copr_operator.frontend.http_webhooks import WebhookRoutes
from copr_operator.frontend.openapi import document
from copr_operator.frontend.records import dump
from copr_operator.frontend.services import Services


def make_app(services: Services) -> ASGIApp:
    """`services` are started and ended by the caller."""
    routes = [
        *CreateRoutes(services).routes(),
        *BuildRoutes(services).routes(),
        *ProjectRoutes(services).routes(),
        *PackageRoutes(services).routes(),
        *WebhookRoutes(services).routes(),
        *GeneralRoutes(services).routes(),
    ]
    described = dump(document(routes, __version__))

    async def docs(_request: Request) -> Response:
        """This document."""
        return answer(described)

    routes.append(route(f"{API}/docs", docs))
    app = Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS)
    app.router.redirect_slashes = False
    app.state.metrics = services.metrics
    return WithoutSlashes(app)
