"""The HTTP interface: one handler an action, all of it usable from a script; see docs/studio.md."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from lrfr.core.errors import DataError, SpecError
from lrfr.core.image import encode_png
from lrfr.degrade.spec.resolve import preset_text
from lrfr.studio.asked import Against, Named, OneFace, Pictures, Recipe, Save, Start, read_body
from lrfr.studio.child_runs import ChildRuns
from lrfr.studio.face_book import MAX_UPLOAD_BYTES
from lrfr.studio.guard import Handler, body_of
from lrfr.studio.picture_pieces import Newest
from lrfr.studio.wire import frame, png_text
from lrfr.studio.workshop import SHOWN_CROPS, Workshop

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FITTED = "camera.yaml"
_TAB = re.compile(r"[A-Za-z0-9-]{1,64}")
Made = TypeVar("Made")


def page_files() -> Mapping[str, bytes]:
    """Return the page's files by name; nothing else is ever served as a file."""
    folder = resources.files("lrfr.studio").joinpath("page")
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


class Interface:
    """The handlers of one studio.

    Args:
        shop: what it works with.
        runs: its commands.
        newest: the newest request of every tab.
        pool: threads that do what takes long.

    """

    def __init__(self, shop: Workshop, runs: ChildRuns, newest: Newest, pool: ThreadPoolExecutor) -> None:
        self._shop, self._runs, self._newest, self._pool = shop, runs, newest, pool
        self._files = page_files()

    def routes(self) -> list[web.RouteDef]:
        """Return the table of the interface."""
        posts: Mapping[str, Handler] = {
            "document": self.document,
            "pictures": self.pictures,
            "trace": self.trace,
            "sheet": self.sheet,
            "diff": self.diff,
            "preset": self.preset,
            "write-out": self.write_out,
            "open": self.open,
            "save": self.save,
            "commands": self.commands,
            "upload": self.upload,
            "runs": self.start,
        }
        return [
            web.get("/", self.page),
            web.get("/page/{name}", self.page),
            web.get("/api/about", self.about),
            web.get("/api/target", self.target),
            web.get("/api/recipes", self.recipes),
            web.get("/api/runs/{id}", self.run),
            web.delete("/api/runs/{id}", self.stop),
            *(web.post(f"/api/{name}", handler) for name, handler in posts.items()),
        ]

    async def _in_thread(self, work: Callable[..., Made], *given: Any) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._pool, partial(work, *given))

    async def page(self, request: web.Request) -> web.Response:
        """Serve a file of the page: it holds nothing of the user's, so it needs no token."""
        name = request.match_info.get("name", "index.html")
        if name not in self._files:
            raise web.HTTPNotFound
        kind = _KINDS.get(name[name.rfind(".") :], "application/octet-stream")
        return web.Response(body=self._files[name], content_type=kind, charset="utf-8")

    async def about(self, request: web.Request) -> web.Response:
        """Say what there is: schema, presets, faces, folders."""
        return web.json_response(await self._in_thread(lambda: self._shop.about))

    async def document(self, request: web.Request) -> web.Response:
        """Read a recipe, with edits: its text, data and faults."""
        asked = read_body(Recipe, await body_of(request))
        opened = await self._in_thread(self._shop.reader.open, asked.text, asked.edits)
        return web.json_response(await self._in_thread(self._shop.document, opened))

    async def pictures(self, request: web.Request) -> web.StreamResponse:
        """Degrade faces; frames as they come, or one object."""
        asked = read_body(Pictures, await body_of(request))
        if asked.form == "json":
            return web.json_response(await self._in_thread(self._shop.told, asked))
        stale = self._newest.note(asked.tab, asked.number)
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        pieces = self._shop.answer(asked, stale)
        first = await self._in_thread(_next, pieces)  # what is wrong with the request is told by its status
        await response.prepare(request)
        try:
            while first is not None:
                if first:
                    await response.write(first)
                first = await self._next_or_fault(pieces)
            await response.write_eof()
        finally:
            # nobody reads any more, or all is sent: a piece that runs ends alone
            self._pool.submit(pieces.close)  # type: ignore[attr-defined]
        return response

    async def _next_or_fault(self, pieces: Iterator[bytes]) -> bytes | None:
        from lrfr.core.errors import as_fault

        try:
            return await self._in_thread(_next, pieces)
        except Exception as error:
            fault = as_fault(error)
            told = fault.as_dict() if fault else {"message": f"this is a bug in lrfr: {type(error).__name__}"}
            return frame({"kind": "fault", "error": told})

    async def trace(self, request: web.Request) -> web.Response:
        """Show a face after every step of its trace."""
        asked = read_body(OneFace, await body_of(request))
        return web.json_response(await self._in_thread(self._shop.trace, asked))

    async def sheet(self, request: web.Request) -> web.Response:
        """Draw the contact sheet, a PNG."""
        asked = read_body(Pictures, await body_of(request))
        png = await self._in_thread(lambda: encode_png(self._shop.sheet(asked)))
        return web.Response(body=png, content_type="image/png")

    async def diff(self, request: web.Request) -> web.Response:
        """Compare a recipe with a preset."""
        asked = read_body(Against, await body_of(request))
        return web.json_response(await self._in_thread(self._shop.diff, asked))

    async def preset(self, request: web.Request) -> web.Response:
        """Give the text of a preset."""
        return web.json_response({"text": preset_text(read_body(Named, await body_of(request)).name)})

    async def write_out(self, request: web.Request) -> web.Response:
        """Give a recipe's text with what it extends, and every default, written out."""
        asked = read_body(Recipe, await body_of(request))
        return web.json_response({"text": await self._in_thread(self._shop.written_out, asked.text)})

    async def recipes(self, request: web.Request) -> web.Response:
        """List the recipe files of the folder."""
        return web.json_response({"recipes": await self._in_thread(self._shop.files.recipes)})

    async def open(self, request: web.Request) -> web.Response:
        """Give the text of a recipe file of the folder."""
        asked = read_body(Named, await body_of(request))
        return web.json_response({"text": await self._in_thread(self._shop.files.open_recipe, asked.name)})

    async def save(self, request: web.Request) -> web.Response:
        """Write a recipe into the folder."""
        asked = read_body(Save, await body_of(request))
        return web.json_response({"path": str(await self._in_thread(self._shop.files.save, asked))})

    async def commands(self, request: web.Request) -> web.Response:
        """Give the command lines that do what the page shows."""
        asked = read_body(Pictures, await body_of(request))
        name = request.query.get("name", self._shop.name)[:200]
        return web.json_response(self._shop.files.commands(name, asked))

    async def upload(self, request: web.Request) -> web.Response:
        """Take a face of the user's, the bytes of an image file; ``tab`` and ``name`` stand in the query."""
        tab, name = request.query.get("tab", ""), request.query.get("name", "")
        if not _TAB.fullmatch(tab) or not 0 < len(name) <= 200:
            raise SpecError("an upload needs tab=... and name=...", file="request")
        data = await body_of(request, MAX_UPLOAD_BYTES, "application/octet-stream")
        return web.json_response({"face": await self._in_thread(self._shop.book.upload, tab, name, data)})

    async def target(self, request: web.Request) -> web.Response:
        """Show some of the target's crops."""
        return web.json_response(await self._in_thread(self._told_target))

    def _told_target(self) -> Mapping[str, object]:
        found = self._shop.target()
        crops = found[0] if found else []
        step = max(1, len(crops) // SHOWN_CROPS)
        some = crops[::step][:SHOWN_CROPS]
        shown = [{"px": list(crop.shape[:2]), "png": png_text(crop)} for crop in some]
        return {"n": len(crops), "crops": shown}

    async def start(self, request: web.Request) -> web.Response:
        """Start ``make-pairs`` or ``fit``."""
        asked = read_body(Start, await body_of(request))
        words, result = await self._in_thread(self.words, asked)
        child = await self._in_thread(self._runs.start, asked.kind, words, result)
        return web.json_response(child.as_json())

    def words(self, asked: Start) -> tuple[list[str], Path | None]:
        """Return the words behind ``lrfr`` that start a command, and the file that it writes a recipe to.

        Raises:
            SpecError: the recipe is wrong.
            DataError: there is nothing to fit.

        """
        places = self._shop.places
        faces = ["--source", places.word(places.faces)] if places.faces else []
        if asked.kind == "fit":
            if places.target is None or not places.fits:
                raise DataError("fitting needs faces and a target", hint="lrfr studio --faces A --target B")
            out = places.folder / FITTED
            words = ["fit", places.word(places.target), *faces, "--out", str(out)]
            return [*words, "--budget", f"{asked.budget:g}"], out
        spec = self._runs.file(self._shop.alone(asked.text))
        variants = ["--variants", str(asked.variants)] if asked.variants else []
        words = ["make-pairs", *faces, "--spec", str(spec), "--view", asked.view, *variants]
        return [*words, "--store", places.word(places.store)], None

    async def run(self, request: web.Request) -> web.Response:
        """Say how a command is doing."""
        return web.json_response(self._runs[request.match_info["id"]].as_json())

    async def stop(self, request: web.Request) -> web.Response:
        """Stop a command."""
        return web.json_response(self._runs.stop(request.match_info["id"]).as_json())


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
