"""The studio as a server on this machine alone."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from lrfr.core.errors import EnvironmentFault, SpecError
from lrfr.studio.asked import Start
from lrfr.studio.child_runs import ChildRuns
from lrfr.studio.guard import Guard
from lrfr.studio.handlers import Interface
from lrfr.studio.picture_pieces import Newest
from lrfr.studio.workshop import Workshop

HOST = "127.0.0.1"
TOKEN_VARIABLE = "LRFR_STUDIO_TOKEN"  # noqa: S105 - the variable's name
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")
_THREADS = 3
_MOST_BYTES = 20 * 1024 * 1024
_CLOSE_S = 2.0


@dataclass(frozen=True)
class Address:
    """Where a studio is reached.

    Attributes:
        port: on 127.0.0.1.
        token: that requests carry.

    """

    port: int
    token: str

    @property
    def url(self) -> str:
        """The address to open; the token stands behind ``#``, which browsers send to nobody."""
        return f"http://{HOST}:{self.port}/#token={self.token}"


def token_of_environment() -> str:
    """Return the token: a random one, or the one of ``LRFR_STUDIO_TOKEN``.

    Raises:
        SpecError: the variable holds none of 16 to 128 letters, digits, ``-`` and ``_``.

    """
    given = os.environ.get(TOKEN_VARIABLE)
    if given is None:
        return secrets.token_urlsafe(24)
    if not _TOKEN.fullmatch(given):
        raise SpecError("a token has 16 to 128 letters, digits, - and _", file=TOKEN_VARIABLE)
    return given


@dataclass(frozen=True)
class Served:
    """A studio that answers.

    Attributes:
        address: where.
        runs: the commands that its pages have started.
        newest: the newest request of every tab.
        words: the command line of a run that is asked for.

    """

    address: Address
    runs: ChildRuns
    newest: Newest
    words: Callable[[Start], tuple[list[str], Path | None]]


@asynccontextmanager
async def serving(shop: Workshop, port: int = 0, token: str | None = None) -> AsyncIterator[Served]:
    """Serve a studio on 127.0.0.1 for the time of the block; its commands end with it.

    Args:
        shop: what it works with.
        port: 0 for any that is free.
        token: that requests carry; None for a random one.

    Raises:
        EnvironmentFault: the port is taken.

    """
    token = token or secrets.token_urlsafe(24)
    guard, newest, runs = Guard(token), Newest(), ChildRuns(shop.places.folder)
    pool = ThreadPoolExecutor(_THREADS, "lrfr-studio")
    app = web.Application(middlewares=[guard.middleware()], client_max_size=_MOST_BYTES)
    app.on_response_prepare.append(guard.headers)
    interface = Interface(shop, runs, newest, pool)
    app.add_routes(interface.routes())
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=_CLOSE_S)
    try:
        await runner.setup()
        site = web.SockSite(runner, _listening(port))
        await site.start()
        guard.port = runner.addresses[0][1]
        yield Served(Address(guard.port, token), runs, newest, interface.words)
    finally:
        await runner.cleanup()
        await asyncio.get_running_loop().run_in_executor(None, runs.close)
        pool.shutdown(wait=False, cancel_futures=True)


def _listening(port: int) -> socket.socket:
    """Return a socket of this machine alone."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, port))
    except OSError as error:
        made.close()
        hint = "--port 0 takes any that is free"
        raise EnvironmentFault(f"cannot listen on port {port}: {error.strerror}", hint=hint) from None
    return made


def serve(shop: Workshop, port: int, ready: Callable[[Address], None]) -> None:
    """Serve a studio until SIGINT or SIGTERM ends it.

    Args:
        shop: what it works with.
        port: 0 for any that is free.
        ready: called with the address once it answers.

    Raises:
        EnvironmentFault: the port is taken.
        SpecError: see :func:`token_of_environment`.

    """
    token = token_of_environment()
    shop.warm()

    async def run() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        # an exception of a handler of Python's own would be lost in whatever callback runs just then
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        async with serving(shop, port, token) as served:
            ready(served.address)
            await stop.wait()

    asyncio.run(run())
