"""The data card of a view: what it was made from and how, in Markdown, from manifests alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from lrfr.pairs.care.inventory import bytes_of
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import SourceReport, View
from lrfr.pairs.views import ViewRows, known_attributes, select_rows


def card(store: StoreFiles, name: str) -> str:
    """Return the card of a view.

    Raises:
        SpecError: no such view.
        DataError: a manifest is damaged.

    """
    view = store.view(name)
    rows = ViewRows(store, view.parts)
    chosen = select_rows(rows, view.filter)
    labels = rows.labels[chosen]
    counts = np.bincount(labels[labels >= 0]) if (labels >= 0).any() else np.zeros(1, int)
    report = store.report(name) or SourceReport({"kind": "unknown"}, {}, {}, len(rows))
    lines = [f"# Data card of the view `{name}`", ""]
    lines += _sources(rows, report, chosen, counts[counts > 0])
    lines += _variants(store, view, str(report.source.get("kind")))
    lines += ["## Identity", "", f"- view: `{view.id}`"]
    lines += [f"- base: `{base.id}`, manifest `{base.sealed}`" for base in rows.manifests]
    lines += [
        f"- variant `{key}`: manifest `{store.lr_manifest(key).sealed}`"
        for part in view.parts
        for key in part.lr
    ]
    lines += ["", "Check every byte with `lrfr store verify --deep`.", ""]
    return "\n".join(lines)


def _sources(
    stored: ViewRows, report: SourceReport, chosen: NDArray[np.int64], counts: NDArray[np.int64]
) -> list[str]:
    crop, rows, attributes = stored.manifests[0].crop, len(chosen), known_attributes(stored, chosen)[0]
    lines = ["## Faces", ""]
    for told in report.told:
        source = told.source
        refused = ", ".join(f"{code} {count}" for code, count in sorted(told.refused.items())) or "none"
        lines.append(f"- source: {', '.join(f'{key} {value}' for key, value in source.items())}")
        if source.get("kind") == "synthetic":
            lines.append("- these faces are rendered: no real person is shown")
        lines.append(f"- license of the source: {source.get('license') or 'not stated'}")
        lines.append(f"- refused files: {refused}")
    of = sum(base.rows for base in stored.manifests)
    lines.append(f"- {rows} of {of} images, {len(counts)} identities, {_spread(counts)}")
    if rows > counts.sum():
        lines.append(f"- {rows - int(counts.sum())} images have no identity: they are of no class")
    lines.append(
        f"- HR: {crop.size_px} px, JPEG (original bytes where they fit, else quality {crop.quality})"
    )
    found = f", found by {crop.finder}" if crop.finder else ""
    lines.append(f"- aligned by landmarks: {'yes' if crop.aligned else 'no'}{found}; channels: {crop.color}")
    lines.append(f"- attributes: {', '.join(attributes) or 'none'}")
    return [*lines, ""]


def _spread(counts: NDArray[np.int64]) -> str:
    if not len(counts):
        return "no labels"
    return f"{int(counts.min())} to {int(counts.max())} images each (median {int(np.median(counts))})"


def _variants(store: StoreFiles, view: View, kind: str) -> list[str]:
    lines = ["## Degraded variants", ""]
    if not view.variants:
        return [*lines, "none: HR alone", ""]
    total = sum(variant.weight for variant in view.variants)
    for number, variant in enumerate(view.variants):
        manifests = [store.lr_manifest(part.lr[number]) for part in view.parts]
        manifest = manifests[0]
        size = sum(bytes_of(item.shards) for item in manifests)
        lines += [f"### {variant.spec}, draw {variant.variant} (share {variant.weight / total:.4g})", ""]
        lines.append(f"- license stated in the spec: {_terms(variant.license, kind)}")
        lines.append(
            f"- {sum(item.rows for item in manifests)} images, {size / 1e6:.2f} MB, same bytes on every CPU: "
            f"{'yes' if manifest.portable else 'no'}"
        )
        lines.append(
            f"- spec `{variant.spec_digest}`; upsampled when read by "
            f"{json.dumps(asdict(variant.up), sort_keys=True)}"
        )
        lines += ["", "```json", json.dumps(manifest.spec, indent=1, sort_keys=True), "```", ""]
    return lines


def _terms(stated: str | Mapping[str, str] | None, kind: str) -> str:
    """Return the terms that a spec states for a kind of source."""
    found = stated if isinstance(stated, str) or stated is None else stated.get(kind)
    return found or "not stated"
