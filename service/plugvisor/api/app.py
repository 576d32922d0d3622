"""The application, put together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from plugvisor.api.auth.gate import Gate
from plugvisor.api.auth.sessions import Sessions
from plugvisor.api.endpoint import Endpoint
from plugvisor.api.event_hub import EventHub
from plugvisor.api.http.body_limit import BodyLimit
from plugvisor.api.http.fast_paths import FastPaths
from plugvisor.api.http.long_requests import LongRequests
from plugvisor.api.http.static import make_page_routes
from plugvisor.api.http.threads import DEFAULT_THREADS, start_thread_pool
from plugvisor.api.problems import make_problem, name_code, respond_to_error
from plugvisor.api.resources.journal.streams import JournalStreams
from plugvisor.api.resources.logs.files import LogReader
from plugvisor.api.resources.logs.streams import LogStreams
from plugvisor.api.routes import ROUTES, STREAMED_BODIES, make_routes
from plugvisor.api.state import State
from plugvisor.api.views import Views
from plugvisor.engines.choice import make_engine
from plugvisor.manager.identities.code_file import CodeFile
from plugvisor.manager.identities.identities import Identities
from plugvisor.manager.installation.configurations import Configurations
from plugvisor.manager.installation.installations import Installations
from plugvisor.manager.intents.intents import Intents
from plugvisor.manager.journal.journal import Journal
from plugvisor.manager.kept_state.keeper import StateKeeper
from plugvisor.manager.last_lines import LastLines
from plugvisor.manager.limit_watch import LimitWatch
from plugvisor.manager.manager import Manager
from plugvisor.manager.watch.watcher import Watcher
from plugvisor.manager.webhooks.webhooks import Webhooks
from plugvisor.metrics.sampler import Sampler
from plugvisor.metrics.traffic import NO_ROUTE, Traffic
from plugvisor.store.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

    from plugvisor.admin_code import AdminCode
    from plugvisor.api.endpoint import Route
    from plugvisor.engines.engine import Engine
    from plugvisor.settings import Settings
    from plugvisor.webhook_secret import WebhookSecret


def create_app(  # noqa: PLR0915 - all of it in the order in which it is opened
    settings: Settings, admin_code: AdminCode, webhook_secret: WebhookSecret | None = None
) -> ASGIApp:
    """The ASGI application; its engine connects when its lifespan begins."""

    routes = list_routes(settings.dialect)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[State]:  # noqa: PLR0915 - in one order
        asyncio.get_running_loop().set_default_executor(start_thread_pool(DEFAULT_THREADS, "default"))
        store = Store(settings.state_dir)
        await store.open()
        identities = Identities(store, admin_code, ignores_case=bool(settings.dialect))
        intents = Intents(store, remembers=settings.remember)
        journal = Journal(store, intents, settings.journal_days, settings.journal_mb)
        await asyncio.gather(identities.load(), intents.load(), journal.load())
        code_file = CodeFile(admin_code.path, identities, journal.recorder)
        code_file.open()
        engine = make_engine(settings)
        keeper = StateKeeper(engine.kept_state, store, identities, intents)
        await keeper.open()
        manager = Manager(settings.plugins_dir, engine, intents, settings.install_dir)
        await engine.open()
        await manager.load()
        last_lines = LastLines(engine)
        views = Views(manager, engine, last_lines)
        events = EventHub(manager, engine, views, last_lines)
        last_lines.open()
        log_streams = LogStreams()
        long_requests = LongRequests()
        sampler = Sampler(partial(find_pids, manager, engine))
        traffic = Traffic()
        engine.on_call.append(traffic.count_call)
        manager.on_change.extend(
            (lambda: sampler.keep(manager.catalog), lambda: manager.monitor.keep(manager.catalog)),
        )
        sampler.keep(manager.catalog)
        limit_watch = LimitWatch(engine)
        limit_watch.open()
        await journal.open(manager, engine)
        installations = Installations(manager, engine, store, journal.recorder, settings, make_problem=make_problem)
        configurations = Configurations(manager, engine, installations, journal.recorder, settings)
        installations.registry.on_change.append(partial(events.announce_operation, installations.registry))
        await installations.open()
        watcher = Watcher(manager, engine, journal.recorder, name_code, settings)
        watcher.open()
        journal_streams = JournalStreams(store, journal.recorder)
        webhooks = Webhooks(settings.webhooks, webhook_secret, store, manager, engine)
        await webhooks.open()
        yield State(
            settings=settings,
            store=store,
            keeper=keeper,
            identities=identities,
            intents=intents,
            recorder=journal.recorder,
            journal_streams=journal_streams,
            engine=engine,
            manager=manager,
            monitor=manager.monitor,
            installations=installations,
            configurations=configurations,
            views=views,
            events=events,
            long_requests=long_requests,
            logs=LogReader(manager, engine, settings.log_dir),
            log_streams=log_streams,
            sampler=sampler,
            traffic=traffic,
            gate=Gate(identities),
            sessions=Sessions(identities),
            routes=routes,
            endless=[events, log_streams, journal_streams, long_requests],
            webhooks=webhooks,
        )
        await webhooks.close()
        await installations.close()
        await code_file.close()
        await watcher.close()
        await limit_watch.close()
        await last_lines.close()
        await sampler.close()
        await manager.close()
        await journal.close()
        await keeper.close()
        await engine.close()
        identities.close()
        await store.close()

    app = Starlette(
        routes=[*make_routes(), *make_page_routes(settings.page_dir)],
        middleware=[Middleware(BodyLimit, STREAMED_BODIES), Middleware(FastPaths, make_fast_paths())],
        lifespan=lifespan,
        exception_handlers={HTTPException: respond_to_unmatched, Exception: respond_to_error},
    )
    app.router.redirect_slashes = False  # /plugins/ is an unknown path, and says so
    whole: ASGIApp = app
    if settings.dialect:
        from plugvisor.api.dialects.neko.application import Neko  # noqa: PLC0415 - with tomlkit, which few need

        whole = Neko(whole)
    if settings.cors_origins:
        # Outermost: a browser reports any response without CORS headers, errors included, as a network failure.
        whole = CORSMiddleware(
            whole,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=[
                *("Authorization", "Content-Type", "If-Match", "Last-Event-ID", "X-Request-Id"),
                *(["X-Plugvisor-Dialect"] if settings.dialect else []),
            ],
            expose_headers=["ETag", "Location", "Retry-After", "X-Request-Id"],
        )
    return whole


def list_routes(dialect: str) -> tuple[Route, ...]:
    """Every route, the dialect's after those that it serves otherwise."""
    if not dialect:
        return ROUTES
    from plugvisor.api.dialects.neko.routes import ROUTES as DIALECT_ROUTES  # noqa: PLC0415 - as above

    return (*ROUTES, *DIALECT_ROUTES)


def make_fast_paths() -> dict[tuple[str, str], ASGIApp]:
    """The endpoints of every path without parameters, by method and path."""
    endpoints: dict[tuple[str, str], ASGIApp] = {}
    for route in ROUTES:
        if "{" not in route.path:
            endpoint = Endpoint(route)
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                endpoints[method, route.path] = endpoint
    return endpoints


async def respond_to_unmatched(request: Request[Any], error: Exception) -> Response:
    """Respond with a problem document to a request that matched no route, and count it."""
    path = getattr(request.scope.get("endpoint"), "path", NO_ROUTE)
    methods = list(dict.fromkeys(route.method for route in request.scope["state"]["routes"] if route.path == path))
    if methods and isinstance(error, HTTPException) and error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        # the router knows those of one route alone
        error.headers = {"Allow": ", ".join([*methods, "HEAD"] if "GET" in methods else methods)}
    response = await respond_to_error(request, error)
    request.scope["state"]["traffic"].count_refused(path, request.method, response.status_code)
    return response


async def find_pids(manager: Manager, engine: Engine) -> dict[str, int]:
    """The main process of each plugin that has one on this machine; raises `SupervisorUnavailable`."""
    if "metrics" in engine.lacks:
        return {}
    processes = engine.read()
    return {name: processes[name].pid for name in manager.catalog if name in processes and processes[name].is_alive}
