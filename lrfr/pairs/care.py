"""Looking at a store: what it holds and what belongs to what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lrfr.errors import SpecError
from lrfr.pairs.store import Store
from lrfr.pairs.views import view_digest
from lrfr.yamlspec import did_you_mean


def open_store(root: Path) -> Store:
    """Return the store at a folder.

    Raises:
        SpecError: there is none.

    """
    if not root.is_dir():
        raise SpecError("there is no store here", file=str(root), hint="lrfr make-pairs writes one")
    return Store(root)


def listing(root: Path) -> dict[str, Any]:
    """Return every view, base and variant with rows, shards and bytes."""
    store = open_store(root)
    views = {name: store.view(name) for name in store.views()}
    users: dict[str, list[str]] = {}
    for name, view in views.items():
        for key in (view["base"], *(variant["action"] for variant in view["variants"])):
            users.setdefault(key, []).append(name)
    manifests = [store.base_manifest(key) for key in store.bases()] + [store.lr_manifest(key) for key in store.actions()]
    rows_of = {manifest["id"]: manifest["rows"] for manifest in manifests}
    return {
        "views": [
            {"view": name, "base": view["base"], "variants": len(view["variants"]), "rows": rows_of.get(view["base"], 0)}
            for name, view in views.items()
        ],
        "stores": [_line(manifest, users.get(manifest["id"], [])) for manifest in manifests],
    }


def _line(manifest: dict[str, Any], users: list[str]) -> dict[str, Any]:
    size = sum(shard["bytes"] for shard in manifest["shards"])
    kind = manifest["kind"]
    return {
        "id": manifest["id"],
        "kind": kind,
        "rows": manifest["rows"],
        "shards": len(manifest["shards"]),
        "MB": round(size / 1e6, 2),
        "views": ", ".join(users) or "-",
    }


def describe(root: Path, name: str) -> dict[str, Any]:
    """Return one view by its name, or one base or variant by its id.

    Raises:
        SpecError: nothing has this name.

    """
    store = open_store(root)
    if name in store.views():
        view = store.view(name)
        return {**view, "view_digest": view_digest(view)}
    if name in store.bases() or name in store.actions():
        manifest = store.base_manifest(name) if name in store.bases() else store.lr_manifest(name)
        return {**manifest, "shards": len(manifest["shards"]), "bytes": sum(shard["bytes"] for shard in manifest["shards"])}
    raise SpecError(
        f"nothing here is called '{name}'", file=str(root), hint=did_you_mean(name, [*store.views(), *store.bases(), *store.actions()])
    )
