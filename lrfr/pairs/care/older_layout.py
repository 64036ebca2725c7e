"""Reading what an older lrfr has laid out (layout 2), as manifests of today."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lrfr.core.errors import DataError
from lrfr.core.files import digest_of, read_sealed
from lrfr.pairs.format.manifests import BaseManifest, VariantManifest
from lrfr.pairs.format.sealed import MEND, is_older, read_head, validated
from lrfr.pairs.format.view_manifest import SourceReport, View

# the code that wrote layout 2 is revision 1 of everything
_REVISIONS = {"decoder": 1, "cutter": 1, "encoder": 1}


@dataclass(frozen=True)
class OlderBase:
    """A base of layout 2: its manifest with the ids of then, and where its faces came from."""

    manifest: BaseManifest
    report: SourceReport


def older_files(root: Path, place: str) -> list[Path]:
    """Return the sealed files below a store that an older lrfr wrote; ``place`` is a glob.

    Raises:
        DataError: one is damaged.

    """
    return [path for path in sorted(root.glob(place)) if is_older(read_head(path))]


def read_older_base(path: Path) -> OlderBase:
    """Read the manifest of a base of layout 2.

    Raises:
        DataError: it is none.

    """
    raw = _read(path, "source", "refused", "flagged", "files")
    report = {name: raw.pop(name) for name in ("source", "refused", "flagged")}
    report["seen"] = raw.get("rows", 0) + sum(report["refused"].values())
    files = {name: sha256 for name, sha256 in raw.pop("files").items() if name != "quarantine.jsonl"}
    crop = {**_mapping(raw.pop("prepare", None), path), **_REVISIONS}
    if "colour" in crop:  # spelled so then
        crop["color"] = crop.pop("colour")
    raw |= {"files": files, "crop": crop, "codec": "jpeg"}
    return OlderBase(validated(BaseManifest, raw, path), validated(SourceReport, report, path))


def read_older_variant(path: Path) -> VariantManifest:
    """Read the manifest of a degraded variant of layout 2.

    Raises:
        DataError: it is none.

    """
    raw = _read(path, "form")
    form = {**raw.pop("form")}
    form["up"] = _up(form.get("up"), path) if form.get("up") else None
    return validated(VariantManifest, {**raw, "form": form, "codec": "raw-png"}, path)


def read_older_view(path: Path) -> View:
    """Read a view of layout 2; its id is the digest that runs knew it by.

    Raises:
        DataError: it is none.

    """
    raw = read_sealed(path, MEND)
    sealed = str(raw.pop("digest"))
    old_id = digest_of({name: value for name, value in raw.items() if name != "name"})
    raw.pop("format", None)
    variants = [
        {**_mapping(item, path), "up": _up(_mapping(item, path).get("up"), path)}
        for item in raw.get("variants", [])
    ]
    fields = View.settled({**raw, "variants": variants, "id": old_id, "sealed": sealed})
    return validated(View, fields, path)


def _read(path: Path, *mappings: str) -> dict[str, Any]:
    """Return the fields that both layouts have, and those named, which must be objects."""
    raw = read_sealed(path, MEND)
    raw["sealed"] = raw.pop("digest")
    for name in ("format", "layout", "kind", "shard_rows"):
        raw.pop(name, None)
    for name in mappings:
        _mapping(raw.get(name), path)
    return raw


def _mapping(value: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise DataError("not a manifest of layout 2", file=str(path))
    return value


def _up(value: object, path: Path) -> dict[str, object]:
    up = dict(_mapping(value, path))
    return {"size_px": up.pop("size", None), **up}
