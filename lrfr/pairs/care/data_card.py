"""The data card of a view: what it was made from and how, in Markdown, from manifests alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lrfr.pairs.store import Store
from lrfr.pairs.views import select_rows, view_digest


def card(store: Store, name: str) -> str:
    """Return the card of a view.

    Raises:
        SpecError: no such view.
        DataError: a manifest is damaged.

    """
    view = store.view(name)
    base = store.base_manifest(view["base"])
    rows = store.rows(view["base"])
    chosen = select_rows(rows, view["filter"])
    labels = rows.labels[chosen]
    counts = np.bincount(labels[labels >= 0]) if (labels >= 0).any() else np.zeros(1, int)
    counts = counts[counts > 0]
    lines = [f"# Data card of the view `{name}`", ""]
    lines += _sources(base, len(chosen), counts)
    lines += _variants(store, view, base)
    lines += [
        "## Identity",
        "",
        f"- view: `{view_digest(view)}`",
        f"- base: `{base['id']}`, manifest `{base['digest']}`",
    ]
    lines += [
        f"- variant `{variant['action']}`: manifest `{store.lr_manifest(variant['action'])['digest']}`"
        for variant in view["variants"]
    ]
    lines += ["", "Check every byte with `lrfr store verify --deep`.", ""]
    return "\n".join(lines)


def _sources(base: dict[str, Any], rows: int, counts: Any) -> list[str]:
    source, prepare = base["source"], base["prepare"]
    refused = ", ".join(f"{code} {count}" for code, count in sorted(base["refused"].items())) or "none"
    license = source.get("license") or "not stated"
    lines = ["## Faces", ""]
    lines.append(f"- source: {', '.join(f'{key} {value}' for key, value in source.items())}")
    if source["kind"] == "synthetic":
        lines.append("- these faces are rendered: no real person is shown")
    lines.append(f"- license of the source: {license}")
    lines.append(f"- {rows} of {base['rows']} images, {len(counts)} identities, {_spread(counts)}")
    lines.append(
        f"- HR: {prepare['size_px']} px, JPEG (original bytes where they fit, else quality "
        f"{prepare['quality']})"
    )
    lines.append(
        f"- aligned by landmarks: {'yes' if prepare['aligned'] else 'no'}; channels: {prepare['color']}"
    )
    lines.append(f"- refused files: {refused}")
    lines.append(f"- attributes: {', '.join(base['attributes']) or 'none'}")
    return [*lines, ""]


def _spread(counts: Any) -> str:
    if not len(counts):
        return "no labels"
    return f"{int(counts.min())} to {int(counts.max())} images each (median {int(np.median(counts))})"


def _variants(store: Store, view: dict[str, Any], base: dict[str, Any]) -> list[str]:
    lines = ["## Degraded variants", ""]
    if not view["variants"]:
        return [*lines, "none: HR alone", ""]
    total = sum(variant["weight"] for variant in view["variants"])
    for variant in view["variants"]:
        manifest = store.lr_manifest(variant["action"])
        size = sum(shard["bytes"] for shard in manifest["shards"])
        lines.append(
            f"### {variant['spec']}, draw {variant['variant']} (share {variant['weight'] / total:.4g})"
        )
        lines += [
            "",
            f"- license stated in the spec: {_terms(variant.get('license'), base['source']['kind'])}",
        ]
        lines.append(
            f"- {manifest['rows']} images, {size / 1e6:.2f} MB, same bytes on every CPU: "
            f"{'yes' if manifest['portable'] else 'no'}"
        )
        lines.append(
            f"- spec `{variant['spec_digest']}`; upsampled when read by "
            f"{json.dumps(variant['up'], sort_keys=True)}"
        )
        lines += ["", "```json", json.dumps(manifest["spec"], indent=1, sort_keys=True), "```", ""]
    return lines


def _terms(stated: str | dict[str, str] | None, kind: str) -> str:
    """Return the terms that a spec states for a kind of source."""
    return (stated.get(kind) if isinstance(stated, dict) else stated) or "not stated"
