"""Requests that nobody who opened the page would send: (kind, method, path, headers, body, statuses).

``{port}`` in a header stands for the server's own; a token is sent unless a header says otherwise.
"""

import json

JSON = {"Content-Type": "application/json"}
RAW = {"Content-Type": "application/octet-stream"}
TEXT = "version: 1\npipeline: [{op: identity}]\n"
SCRIPT = "<script>alert(1)</script>"


def recipe(text, **more):
    return json.dumps({"text": text, **more}).encode()


def _paths():
    places = [
        "/etc/passwd",
        "../secret.yaml",
        "..%2fsecret.yaml",
        "%2e%2e/secret.yaml",
        "..%5c..%5csecret.yaml",
    ]
    places += [
        "....//secret.yaml",
        "%00",
        "index.html%00.js",
        "//etc/passwd",
        "main.js/..",
        ".",
        "..",
        "%2e%2e%2f",
    ]
    places += [
        "base.css/../../asked.py",
        "../asked.py",
        "__init__.py",
        "a" * 3000,
        "\u2025/x".encode().hex(),
        "~root",
    ]
    for place in places:
        yield "path", "GET", f"/page/{place}", {}, None, {400, 404, 414}
    for place in [
        "/..",
        "/../../etc/passwd",
        "/api/../secret.yaml",
        "/etc/passwd",
        "/home/mine.yaml",
        "/api/",
        "/api",
    ]:
        yield "path", "GET", place, {}, None, {400, 404}
    names = [
        "../secret.yaml",
        "/etc/passwd",
        "..",
        ".",
        "link.yaml",
        "mine.yaml/../../secret.yaml",
        "",
        "x" * 101,
    ]
    names += ["secret.yaml\0", "C:\\x.yaml", "file:///etc/passwd", "http://127.0.0.1/x.yaml", "\ud800x"]
    for name in names:
        body = json.dumps({"name": name}).encode()
        yield "path", "POST", "/api/open", JSON, body, {400, 422}
        yield "path", "POST", "/api/preset", JSON, body, {400, 422}
    for name in [*names, "x.yaml/y", ".hidden.yaml", "-rf.yaml", "x.txt", "x.yaml\n", "a b.yaml", "é.yaml"]:
        body = json.dumps({"name": name, "text": TEXT}).encode()
        yield "path", "POST", "/api/save", JSON, body, {400, 422}
    yield (
        "path",
        "POST",
        "/api/save",
        JSON,
        json.dumps({"name": "link.yaml", "text": TEXT, "replace": True}).encode(),
        {422},
    )
    for run in ["..", "../../x", "%2e%2e", "0" * 24, "1"]:
        yield "path", "GET", f"/api/runs/{run}", {}, None, {404, 422}
        yield "path", "DELETE", f"/api/runs/{run}", {}, None, {404, 422}


def _hosts():
    bad = [
        "evil.example",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "localhost:80",
        "[::1]:{port}",
        "0.0.0.0:{port}",
    ]
    bad += [
        "127.0.0.1.evil.example:{port}",
        "evil.example:{port}",
        "127.0.0.2:{port}",
        "2130706433:{port}",
        "",
    ]
    bad += ["127.0.0.1:{port}@evil.example", "LOCALHOST.:{port}", "127.1:{port}"]
    for host in bad:
        for path in ("/", "/api/about"):
            yield "host", "GET", path, {"Host": host}, None, {400, 421}
    origins = [
        "http://evil.example",
        "null",
        "https://127.0.0.1:{port}",
        "http://localhost:{port}.evil.example",
    ]
    origins += ["http://127.0.0.1:1", "file://", "http://127.0.0.1", "", "chrome-extension://abc"]
    for origin in origins:
        yield "origin", "POST", "/api/document", {**JSON, "Origin": origin}, recipe(TEXT), {403}
        yield "origin", "GET", "/", {"Origin": origin}, None, {403}
    for site in ["cross-site", "same-site", "evil"]:
        yield "origin", "GET", "/api/about", {"Sec-Fetch-Site": site}, None, {403}


def _tokens():
    for token in [None, "", "x", "0" * 32, "undefined", "null", "é", "' or 1=1 --", "{}", "x" * 4000]:
        for method, path in (("GET", "/api/about"), ("POST", "/api/save")):
            body = None if method == "GET" else json.dumps({"name": "t.yaml", "text": TEXT}).encode()
            yield "token", method, path, {**JSON, "X-Lrfr-Token": token}, body, {400, 403}
    for path in ("/api/about?token=x", "/api/recipes?X-Lrfr-Token=x"):
        yield "token", "GET", path, {"X-Lrfr-Token": None, "Cookie": "token=x"}, None, {403}
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ]:
        for path in ("/api/document", "/api/save", "/api/runs"):
            yield "form", "POST", path, {"Content-Type": kind}, recipe(TEXT), {422}
    for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD"]:
        yield "method", method, "/api/save", JSON, None, {400, 403, 405}
    yield "method", "GET", "/api/save", {}, None, {404, 405}
    yield "method", "POST", "/", JSON, recipe(TEXT), {405}


def _bombs():
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
    )
    texts = [
        laughs,
        "[" * 5000,
        "{a: " * 3000,
        "- " * 20000,
        "? " * 20000,
        "&a " * 9000,
        "a: " + "[" * 79 + "]" * 79,
    ]
    texts += ["x: !!python/object/apply:os.system ['id']", "x: !!python/name:os.system", "x: !<tag:evil> 1"]
    texts += [
        "%TAG ! tag:evil:\n---\nx: !y 1",
        "&a [*a]",
        "a: *nothing",
        "<<: {a: 1}",
        "\t\tx: 1",
        "a: 1\na: 2",
    ]
    texts += [
        "version: 1\npipeline: [{op: jpeg, quality: " + "9" * 4000 + "}]",
        "x: .nan",
        "\x00",
        "x: \u202e",
        "---\n---\n",
    ]
    texts += ["version: 1\npipeline:\n" + "  - {op: identity}\n" * 1500]
    texts += ["version: 1\npipeline: [" + "{steps: [" * 30 + "{op: identity}" + "], repeat: 16}" * 30 + "]"]
    for text in texts:
        yield "yaml", "POST", "/api/document", JSON, recipe(text), {200, 422}
        yield "yaml", "POST", "/api/pictures", JSON, recipe(text, faces=[0], form="json"), {422}
    for edit in [
        {"do": "exec"},
        {"do": "set", "place": ["__class__"]},
        {"do": "set", "place": [["x"]]},
        {"do": "set"},
        7,
    ]:
        yield "yaml", "POST", "/api/document", JSON, recipe(TEXT, edits=[edit]), {200, 422}


def _bodies():
    for body in [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100000,
        b'{"a":' * 2000,
        b"{}" * 9,
        b"NaN",
    ]:
        yield "body", "POST", "/api/document", JSON, body, {400, 422}
    yield "size", "POST", "/api/document", JSON, recipe("x" * 140_000), {422}
    yield "size", "POST", "/api/document", JSON, b" " * 600_000, {413, 422}
    yield (
        "size",
        "POST",
        "/api/document",
        {**JSON, "Content-Encoding": "gzip"},
        b"\x1f\x8b\x08",
        {400, 415, 422},
    )
    for key, value in [
        ("faces", [0] * 49),
        ("faces", [10**9]),
        ("faces", [-1]),
        ("faces", ["x"]),
        ("draws", 0),
        ("draws", 13),
    ]:
        yield (
            "size",
            "POST",
            "/api/pictures",
            JSON,
            recipe(TEXT, **{"faces": [0], key: value, "form": "json"}),
            {422},
        )
    for key, value in [
        ("first_variant", -1),
        ("seed", -1),
        ("seed", 2**70),
        ("tab", "../x"),
        ("number", -1),
        ("extra", 1),
        ("draws", True),
    ]:
        yield "size", "POST", "/api/pictures", JSON, recipe(TEXT, **{"faces": [0], key: value}), {422}
    for text in [
        "image: {size: 5000}",
        "variants: 100000",
        "store: {up: {size: 99999, filter: box, antialias: true}}",
    ]:
        yield "size", "POST", "/api/pictures", JSON, recipe(TEXT + text, faces=[0], form="json"), {422}


def _uploads():
    where = "/api/upload?tab=t&name="
    pictures = [
        b"",
        b"GIF89a",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        b"<svg onload=alert(1)>",
        b"\xff\xd8\xff" + b"\0" * 99,
    ]
    pictures += [
        b"P6 99999 99999 255\n",
        b"%PDF-1.4",
        b"PK\x03\x04",
        b"\x7fELF",
        b"BM" + b"\xff" * 60,
        b"RIFF\0\0\0\0WEBP",
    ]
    for data in pictures:
        yield "upload", "POST", f"{where}x.png", RAW, data, {422}
    yield "upload", "POST", f"{where}x.png", RAW, b"\0" * (16 * 1024 * 1024 + 1), {413, 422}
    yield "upload", "POST", "/api/upload", RAW, b"x", {422}
    yield "upload", "POST", "/api/upload?tab=../x&name=x", RAW, b"x", {422}
    yield "upload", "POST", f"{where}{'x' * 201}", RAW, b"x", {422}
    yield "upload", "POST", f"{where}x", JSON, b"x", {422}


def _scripts():
    for text in [
        SCRIPT,
        "'\"><img src=x onerror=alert(1)>",
        "javascript:alert(1)",
        "{{7*7}}",
        "\u2028alert(1)",
    ]:
        yield (
            "script",
            "POST",
            "/api/document",
            JSON,
            recipe(f"version: 1\nname: {json.dumps(text)}\npipeline: [{{op: {json.dumps(text)}}}]"),
            {200},
        )
        yield "script", "POST", "/api/preset", JSON, json.dumps({"name": text}).encode(), {422}
        yield "script", "POST", "/api/diff", JSON, recipe(TEXT, preset=text), {422}
    for body in [{"kind": "rm"}, {"kind": "make-pairs", "view": "../x", "text": TEXT}, {"kind": "make-pairs", "view": "--store", "text": TEXT},
                 {"kind": "make-pairs", "text": "x"}, {"kind": "fit"}, {"kind": "make-pairs", "text": TEXT, "variants": 10**9}, {"words": ["rm"]}]:  # fmt: skip
        yield "command", "POST", "/api/runs", JSON, json.dumps(body).encode(), {422}


REQUESTS = [*_paths(), *_hosts(), *_tokens(), *_bombs(), *_bodies(), *_uploads(), *_scripts()]
