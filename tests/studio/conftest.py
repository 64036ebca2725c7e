"""A studio that answers on this machine, for as long as a module's tests run."""

import asyncio
import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

pytest.importorskip("aiohttp", reason="the studio needs aiohttp: pip install 'lrfr[studio]'")
pytest.importorskip("ruamel.yaml", reason="the studio needs ruamel.yaml: pip install 'lrfr[studio]'")

from lrfr.studio.recipes.recipe_files import Places
from lrfr.studio.server import Served, serving
from lrfr.studio.workshop import Workshop


@dataclass
class Answer:
    """What a request was answered: status, headers (lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self):
        return json.loads(self.body)


class Studio:
    """A client that speaks as the page does."""

    def __init__(self, served: Served, shop: Workshop) -> None:
        self.address, self.runs, self.newest = served.address, served.runs, served.newest
        self.shop, self.port, self.served = shop, served.address.port, served

    def request(self, method, path, body=None, headers=None, host=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True)
            own = {
                "Host": f"127.0.0.1:{self.port}" if host is None else host,
                "X-Lrfr-Token": self.address.token,
            }
            for name, value in {**own, **(headers or {})}.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def post(self, name, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", f"/api/{name}", data, {"Content-Type": "application/json", **headers})

    def get(self, name):
        return self.request("GET", f"/api/{name}")


@contextmanager
def running(places, port=0, token=None):
    """Serve a studio from a thread."""
    ready, end = threading.Event(), None
    shop, found, loop = Workshop(places), [], asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run():
        async with serving(shop, port, token) as served:
            found.append(served)
            ready.set()
            await stop.wait()

    end = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    end.start()
    assert ready.wait(30)
    try:
        yield Studio(found[0], shop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        end.join(60)
        loop.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a studio; nothing outside it may be read."""
    top = tmp_path_factory.mktemp("studio")
    (top / "secret.yaml").write_text("version: 1\npipeline: [{op: identity}]\n# the secret is 8d1f\n")
    home = top / "home"
    home.mkdir()
    (home / "mine.yaml").write_text("extends: sensor\nset: {pipeline.d1.size: 14}\n")
    (home / "link.yaml").symlink_to(top / "secret.yaml")
    return home


@pytest.fixture(scope="module")
def studio(folder):
    """A studio with the embedded faces."""
    with running(Places("surveillance", folder=folder, store=folder / "store")) as found:
        yield found
