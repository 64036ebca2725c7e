"""Who may talk to the studio: the page that it served, with the token of the printed address, nobody else.

Every answer carries a policy under which the page runs its own scripts only, is framed by nobody and loads
nothing from elsewhere.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from aiohttp.typedefs import Middleware

from lrfr.core.errors import LrfrError, SpecError, as_fault
from lrfr.core.strict_yaml import MAX_BYTES

TOKEN_HEADER = "X-Lrfr-Token"  # noqa: S105 - the header's name
MAX_JSON_BYTES = 4 * MAX_BYTES
_BODY_S = 30.0
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
# exit code of an error -> status of its answer
STATUS: Mapping[int, int] = {2: 422, 3: 422, 4: 409, 5: 503, 6: 422}


class Guard:
    """The middleware of one server.

    Args:
        token: that requests of the interface carry.

    """

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self.port = 0

    async def headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Put the policy on an answer."""
        response.headers.update(HEADERS)
        response.headers["Server"] = "lrfr"

    def middleware(self) -> Middleware:
        """Return what stands before every handler."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            refusal = self._refusal(request)
            if refusal is not None:
                return said(*refusal)
            try:
                return await handler(request)
            except web.HTTPException as error:
                return said(error.status, error.reason)
            except (asyncio.CancelledError, ConnectionResetError):
                raise
            except Exception as error:
                fault = as_fault(error)
                if fault is None:
                    # a bug: its text may hold anything, so the page only learns its kind
                    return said(500, f"this is a bug in lrfr: {type(error).__name__}")
                return web.json_response({"error": fault.as_dict()}, status=STATUS.get(fault.exit_code, 500))

        return check

    def _refusal(self, request: web.Request) -> tuple[int, str] | None:
        """Return status and reason where a request is not of our page."""
        hosts = {f"127.0.0.1:{self.port}", f"localhost:{self.port}"}
        names = request.headers.getall("Host", [])
        if len(names) != 1 or names[0] not in hosts:
            return 421, "this host is not served"
        origins = request.headers.getall("Origin", [])
        if origins and origins != [f"http://{names[0]}"]:
            return 403, "requests of other pages are refused"
        if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            return 403, "requests of other pages are refused"
        if not request.path.startswith("/api/"):
            return None
        given = request.headers.getall(TOKEN_HEADER, [])
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("utf-8", "replace"), self._token):
            return 403, "the token of the printed address is missing or wrong"
        return None


def said(status: int, message: str) -> web.Response:
    """Return an error as the interface gives it."""
    return web.json_response({"error": {"type": "Refused", "message": message}}, status=status)


async def body_of(request: web.Request, most: int = MAX_JSON_BYTES, kind: str = "application/json") -> bytes:
    """Return the bytes of a request of a stated kind.

    Raises:
        SpecError: it is of another kind, too large, or does not come.

    """
    if request.content_type != kind:
        raise SpecError(f"expected content of the type {kind}", file="request")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise SpecError("packed bodies are not read", file="request")
    if (request.content_length or 0) > most:
        raise web.HTTPRequestEntityTooLarge(most, request.content_length or 0)
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for piece in request.content.iter_any():
                data += piece
                if len(data) > most:
                    raise web.HTTPRequestEntityTooLarge(most, len(data))
    except TimeoutError:
        raise SpecError("the body does not come", file="request") from None
    except web.HTTPException:
        raise
    except LrfrError:
        raise
    except Exception as error:
        raise SpecError(f"the body ends early: {type(error).__name__}", file="request") from None
    return bytes(data)
