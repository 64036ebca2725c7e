"""The chain from a metric back to the HR files: checkpoint, view, degraded variants, base, sources."""

from __future__ import annotations

from pathlib import Path

from lrfr.eval.results import Model
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import View


def chain(model: Model, store: Path | None = None) -> list[str]:
    """Return the lines of one model's chain; with its ``store``, down to the spec and the HR files' hashes.

    Raises:
        DataError: the store holds a damaged manifest.

    """
    lines = [
        model.name,
        f"  checkpoint {model.checkpoint or '-'}",
        f"    digest {model.digest or '-'}",
    ]
    lines += [f"    {role} {digest}" for role, digest in sorted(model.parents.items())]
    lines.append(f"  view {model.view_digest or '-'}")
    found = find_view(store, model.view_digest) if store else None
    fate = StoreFiles(store).fate(model.view_digest) if store and model.view_digest and not found else ""
    lines += [f"    faces of it were {fate}"] if fate else []
    return lines + (_below(StoreFiles(store), found) if store and found else [])


def find_view(store: Path, digest: str | None) -> View | None:
    """Find the view with an id, also under an id that it had before ``lrfr store upgrade``."""
    place = StoreFiles(store)
    views = map(place.view, place.views())
    return next((view for view in views if digest in {view.id, *view.former}), None)


def _below(store: StoreFiles, view: View) -> list[str]:
    """Return what the view stands on."""
    lines = [f"    name {view.name}"]
    for number, variant in enumerate(view.variants):
        keys = [part.lr[number] for part in view.parts]
        manifest = store.lr_manifest(keys[0])
        lines.append(f"    variant {' '.join(keys)} weight {variant.weight:g}")
        lines.append(f"      spec {variant.spec} {variant.spec_digest}")
        lines.append(f"      pixels {manifest.pixel_digest}")
    report = store.report(view.name)
    told = [item.source for item in report.told] if report else [{}]
    for source in told:
        words = " ".join(f"{key}={value}" for key, value in sorted(source.items()))
        lines.append(f"    source {words or 'not kept'}")
    for part in view.parts:
        base = store.base_manifest(part.base)
        lines.append(f"    base {part.base} {base.rows} faces, {base.identities} people")
        lines += [f"      {name} sha256 {digest}" for name, digest in sorted(base.files.items())]
    return [*lines, "      key_blob.npy and digests.npy hold the key and the hash of every HR file"]
