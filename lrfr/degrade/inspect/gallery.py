"""Every shipped recipe on one page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lrfr.core.errors import LrfrError
from lrfr.core.files import write_whole
from lrfr.core.image import ImageU8, encode_jpeg, encode_png, square_fit
from lrfr.degrade.inspect.contact_sheet import SheetRow, gallery
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.resolve import preset_names


def draw_gallery(faces: Mapping[bytes, ImageU8], path: Path) -> tuple[list[str], dict[str, LrfrError]]:
    """Degrade faces by every preset and write one row for each as PNG, or as JPEG where ``path`` ends so.

    Args:
        faces: uint8 [H, W, 3] by sample key; the first is shown beside what became of all.
        path: of the page.

    Returns:
        The presets that were drawn, and why others could not be.

    """
    rows, left_out = [], {}
    for name in preset_names():
        try:
            pipeline = Pipeline(name)
        except LrfrError as error:
            left_out[name] = error
            continue
        spec = pipeline.spec
        degraded = pipeline.run(list(faces), list(faces.values()))
        hr = square_fit(next(iter(faces.values())), spec.image.size_px)
        rows.append((SheetRow(name, hr, degraded), spec.store.up))
    page = gallery(rows)
    jpeg = path.suffix.lower() in {".jpg", ".jpeg"}
    write_whole(path, encode_jpeg(page, 88, "444") if jpeg else encode_png(page))
    return [row.name for row, _ in rows], left_out
