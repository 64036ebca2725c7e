"""Looking at a store, comparing two, and removing what no view uses."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from lrfr.core.errors import SpecError, did_you_mean
from lrfr.core.files import read_sealed, write_fault
from lrfr.core.lock import store_lock
from lrfr.pairs.store import Store
from lrfr.pairs.views import view_digest


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
    manifests = [store.base_manifest(key) for key in store.bases()] + [
        store.lr_manifest(key) for key in store.actions()
    ]
    rows_of = {manifest["id"]: manifest["rows"] for manifest in manifests}
    return {
        "views": [
            {
                "view": name,
                "base": view["base"],
                "variants": len(view["variants"]),
                "rows": rows_of.get(view["base"], 0),
            }
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
        return {
            **manifest,
            "shards": len(manifest["shards"]),
            "bytes": sum(shard["bytes"] for shard in manifest["shards"]),
        }
    raise SpecError(
        f"nothing here is called '{name}'",
        file=str(root),
        hint=did_you_mean(name, [*store.views(), *store.bases(), *store.actions()]),
    )


def diff(left: Path, right: Path) -> list[str]:
    """Return the differences between two stores, or two base or LR folders, as lines; an empty list means
    equal data.

    Compares what was committed (manifests and views), not the files: ``verify`` proves that those agree.
    """
    if (left / "manifest.json").exists() and (right / "manifest.json").exists():
        return _diff_values(read_sealed(left / "manifest.json"), read_sealed(right / "manifest.json"), "")
    lines = []
    first, second = _catalog(open_store(left)), _catalog(open_store(right))
    for name in sorted({*first, *second}):
        if name not in second:
            lines.append(f"only in {left}: {name}")
        elif name not in first:
            lines.append(f"only in {right}: {name}")
        else:
            lines += _diff_values(first[name], second[name], name)
    return lines


def _catalog(store: Store) -> dict[str, Any]:
    found: dict[str, Any] = {f"base {key}": store.base_manifest(key) for key in store.bases()}
    found |= {f"lr {key}": store.lr_manifest(key) for key in store.actions()}
    return found | {f"view {name}": store.view(name) for name in store.views()}


def _diff_values(left: Any, right: Any, place: str) -> list[str]:
    if isinstance(left, dict) and isinstance(right, dict):
        lines = []
        for key in sorted({*left, *right} - {"digest"}):
            lines += _diff_values(left.get(key), right.get(key), f"{place}.{key}" if place else key)
        return lines
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        return [
            line
            for index, pair in enumerate(zip(left, right, strict=True))
            for line in _diff_values(*pair, f"{place}[{index}]")
        ]
    return [] if left == right else [f"{place}: {left!r} != {right!r}"]


def gc(root: Path, dry_run: bool = False) -> dict[str, Any]:
    """Remove what no view uses: bases, variants, unfinished builds, temporary files.

    Returns:
        ``removed`` (paths relative to the store) and ``bytes``.

    Raises:
        DataError: a view is damaged, so what it uses cannot be known; nothing is removed.

    """
    store = open_store(root)
    with store_lock(root):
        used = set()
        for name in store.views():
            view = store.view(name)
            used |= {store.base(view["base"]), *(store.lr(variant["action"]) for variant in view["variants"])}
        folders = [
            path for kind in ("base", "lr") for path in sorted((root / kind).glob("*")) if path.is_dir()
        ]
        sides = [path for path in sorted((root / "side").glob("*")) if store.base(path.name) not in used]
        doomed = [path for path in folders if path not in used] + sides + sorted(store.tmp.glob("*"))
        size = sum(_size_of(path) for path in doomed)
        if not dry_run:
            for path in doomed:
                _remove(path)
    return {"removed": [str(path.relative_to(root)) for path in doomed], "bytes": size, "dry_run": dry_run}


def _size_of(path: Path) -> int:
    return (
        sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
        if path.is_dir()
        else path.stat().st_size
    )


def _remove(path: Path) -> None:
    """Remove a file or folder; the manifest goes first, so that a half-removed folder never looks whole."""
    try:
        if path.is_dir():
            (path / "manifest.json").unlink(missing_ok=True)
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise write_fault(error, path, 0) from error
