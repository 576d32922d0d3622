"""The application, put together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from plugvisor.api.auth import Gate
from plugvisor.api.counted import respond_to_refused
from plugvisor.api.endpoint import State
from plugvisor.api.http.body_limit import BodyLimit
from plugvisor.api.http.static import make_page_routes
from plugvisor.api.problems import respond_to_error
from plugvisor.api.resources.events import EventHub
from plugvisor.api.resources.log_streams import LogStreams
from plugvisor.api.resources.logs import LogViews
from plugvisor.api.routes import make_routes
from plugvisor.api.traffic import Traffic
from plugvisor.api.views import Views
from plugvisor.engines.supervisord.engine import SupervisordEngine
from plugvisor.errors import PlugvisorError
from plugvisor.manager.manager import Manager
from plugvisor.metrics.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from plugvisor.admin_code import AdminCode
    from plugvisor.settings import Settings


def create_app(settings: Settings, admin_code: AdminCode) -> ASGIApp:
    """The ASGI application; it connects to supervisord when its lifespan begins."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:
        engine = SupervisordEngine(settings)
        manager = Manager(settings.plugins_dir, engine)
        await asyncio.gather(engine.open(), manager.load())
        events = EventHub(manager, engine)
        log_streams = LogStreams()
        sampler = Sampler(partial(find_pids, manager, engine))
        traffic = Traffic()
        engine.client.on_call.append(traffic.count_call)
        manager.on_change.append(lambda: sampler.keep(manager.catalog))
        sampler.keep(manager.catalog)
        yield State(
            settings=settings,
            engine=engine,
            manager=manager,
            views=Views(manager, engine),
            events=events,
            logs=LogViews(manager, settings.log_dir),
            log_streams=log_streams,
            sampler=sampler,
            traffic=traffic,
            gate=Gate(admin_code),
            endless=[events, log_streams],
        )
        await sampler.close()
        await manager.close()
        await engine.close()

    app = Starlette(
        routes=[*make_routes(), *make_page_routes(settings.page_dir)],
        middleware=[Middleware(BodyLimit)],
        lifespan=lifespan,
        exception_handlers={
            HTTPException: respond_to_refused,
            PlugvisorError: respond_to_error,
            Exception: respond_to_error,
        },
    )
    app.router.redirect_slashes = False  # /plugins/ is an unknown path, and says so
    whole: ASGIApp = app
    if settings.cors_origins:
        # Around all, for a browser shows an answer without these headers, an error's too, as a network failure.
        whole = CORSMiddleware(
            whole,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=["ETag", "Retry-After"],
        )
    return whole


async def find_pids(manager: Manager, engine: SupervisordEngine) -> dict[str, int]:
    """The main process of each plugin that has one; raises `SupervisorUnavailable`."""
    processes = engine.read()
    return {name: processes[name].pid for name in manager.catalog if name in processes and processes[name].is_alive}
