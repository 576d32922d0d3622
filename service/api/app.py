"""The application, put together."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from service.api.auth import Gate
from service.api.events import EventHub
from service.api.problems import respond_to_error
from service.api.routes import State, make_routes
from service.api.views import Views
from service.errors import PlugvisorError
from service.manager import Manager
from service.supervisord.board import Board
from service.supervisord.client import SupervisorClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from service.admin_code import AdminCode
    from service.settings import Settings


def create_app(settings: Settings, admin_code: AdminCode) -> ASGIApp:
    """The ASGI application; it connects to supervisord when its lifespan begins."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        client = SupervisorClient(settings.supervisor_url)
        board = Board(client, str(settings.run_dir / "state.sock"))
        manager = Manager(settings, client, board)
        await manager.load()
        manager.resume()
        events = EventHub(manager, board)
        yield State(
            manager=manager, views=Views(manager, board), events=events, gate=Gate(admin_code), endless=[events]
        )
        await manager.close()
        await board.close()
        await client.close()

    app = Starlette(
        routes=make_routes(),
        lifespan=lifespan,
        exception_handlers=dict.fromkeys((PlugvisorError, HTTPException, Exception), respond_to_error),
    )
    app.router.redirect_slashes = False  # /plugins/ is an unknown path, and says so
    if not settings.cors_origins:
        return app
    # Outermost, for a browser shows an answer without these headers, an error's too, as a network failure.
    return CORSMiddleware(
        app,
        allow_origins=settings.cors_origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["ETag", "Retry-After"],
    )
