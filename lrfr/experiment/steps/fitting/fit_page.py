"""The page of a fit: how near it came, beside whom, what was found and how well it is known."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lrfr.core.files import write_whole
from lrfr.core.image import ImageU8, encode_png
from lrfr.degrade.ops.resize import resize_batch
from lrfr.eval.report.blocks import Image, Section, TableBlock
from lrfr.eval.report.plots import OKABE_ITO, THEMES
from lrfr.eval.report.report import Report, to_html, to_markdown
from lrfr.fit.fit_record import TOO_FEW, FittedCamera, Shown
from lrfr.fit.infer.fitted_spec import short_form, spec_text
from lrfr.fit.judge.comparison import Row
from lrfr.fit.look.container_marks import container_words

_CELL_PX = 112
_MOST_CURVES = 5


def write_page(camera: FittedCamera, out: Path, *, pictures: bool = True) -> list[Path]:
    """Write the page of a fit, and the same as Markdown, and return both paths."""
    report = Report(
        f"A camera's recipe: {out.stem}",
        page_sections(camera, pictures),
        [],
        "Built from one fit; the crops are the camera's, do not pass the page on as if they were yours.",
    )
    files = {out: to_html(report), out.with_suffix(".md"): to_markdown(report)}
    for path, text in files.items():
        write_whole(path, text.encode("utf-8", "replace"))
    return list(files)


def page_sections(camera: FittedCamera, pictures: bool) -> list[Section]:
    """Return the parts of the page."""
    found = [_verdict(camera), _distances(camera), _laws(camera)]
    if pictures and camera.shown:
        found.append(_sheets(camera.shown))
    if camera.shown:
        found.append(Section("Mean spectra", [], [], [_curves(camera.shown)]))
    return [*found, _structure(camera), _spec(camera)]


def _verdict(camera: FittedCamera) -> Section:
    if TOO_FEW in camera.notes:
        kept = "Nothing was fitted but the structure."
    elif camera.kept == "structure scan":
        kept = (
            "The fit came no nearer to the validation crops than the structure scan, so the scan's spec is "
            "what was written."
        )
    else:
        kept = "The fitted spec came nearer to the validation crops than the structure scan."
    counts = "; ".join(f"{name}: {count}" for name, count in camera.counts.items())
    return Section(
        "Verdict", [f"{camera.verdict[0].upper()}{camera.verdict[1:]}.", kept, f"{counts}.", *camera.notes]
    )


def _distances(camera: FittedCamera) -> Section:
    embedded = any(row.norms is not None for row in camera.rows)
    more = ["norms W1", "Frechet, embeddings"] if embedded else []
    columns = ["set", "C2ST, %", "logistic, %", "trees, %", "Frechet", "KID", *more, "n", "verdict"]
    rows = [_distance_row(row, embedded) for row in camera.rows]
    chosen = [[name, f"{one.energy:.3f}", f"{one.frechet:.2f}"] for name, one in camera.validation.items()]
    differing = [[name, f"{by:+.2f}"] for name, by in camera.differing]
    text = (
        "Each set against the test crops, by which nothing was chosen. C2ST is the larger accuracy of a "
        "logistic regression and of boosted trees that were trained to tell the set from the camera, on "
        "faces that they have not seen (50 is chance; brackets: 95 % interval). Frechet and KID are taken on "
        "statistics; real against real is what the same camera gives at this n. What the content alone tells "
        "(who is pictured, and how) no recipe can remove. Energy is the energy distance, 0 in the mean for "
        "faces of the same kind at any number of crops."
    )
    return Section(
        "How near",
        [text],
        [
            TableBlock("Distances to the test crops", columns, rows),
            TableBlock(
                "Distances to the validation crops, by which the spec was chosen: energy against the "
                "scan, Frechet among fits",
                ["candidate", "energy", "Frechet"],
                chosen,
            ),
            TableBlock(
                "Statistics that still differ most, in spreads of the camera's crops",
                ["statistic", "fitted - real"],
                differing,
            ),
        ],
    )


def _distance_row(row: Row, embedded: bool) -> list[str]:
    more = (
        [f"{row.norms:.3f}", f"{row.embeddings:.2f}"]
        if embedded and row.norms is not None
        else ["-", "-"]
        if embedded
        else []
    )
    return [
        row.name,
        f"{100 * row.c2st:.1f} [{100 * row.low:.1f}, {100 * row.high:.1f}]",
        f"{100 * row.logistic:.1f}",
        f"{100 * row.trees:.1f}",
        f"{row.frechet:.2f}",
        f"{row.kid:.3f}",
        *more,
        str(row.n),
        row.words,
    ]


def _laws(camera: FittedCamera) -> Section:
    if not camera.laws:
        return Section("What was found", ["Nothing beyond the structure."])
    grouped = len(camera.shares) > 1
    text = [
        "Each distribution of the spec, the 95 % bootstrap interval of its mean (of the probability, for a "
        "gate), and how much of what there is to know about it single faces tell, measured on simulated "
        "faces of known parameters. What is hardly told is mostly the prior's."
    ]
    if grouped:
        parts = ", ".join(f"{'abcdef'[k]}: {share:.0%}" for k, share in enumerate(camera.shares))
        text.append(
            f"The crops fall into {len(camera.shares)} groups with distributions of their own ({parts})."
        )
    rows = [
        [
            *([law.group] if grouped else []),
            law.name,
            law.literal,
            law.interval,
            f"{100 * law.told:.0f}",
            law.words,
        ]
        for law in camera.laws
    ]
    columns = [*(["group"] if grouped else []), "parameter", "distribution", "mean", "told, %", "in words"]
    return Section("What was found", text, [TableBlock("Distributions", columns, rows)])


def _structure(camera: FittedCamera) -> Section:
    found = camera.structure
    how = {
        "detector": "found crop by crop: the smallest picture whose enlargement the crop can be",
        "files": "the sizes of the files",
        "spectrum": "the nearest mean spectrum; single crops do not tell",
    }[found.told_by]
    up = "none, the crops keep their sizes"
    if found.way is not None:
        up = f"{found.way.filter}, {_antialias(found.way.antialias)}, to {found.way.canvas_px} px"
        if found.warped:
            up = f"{found.cut}, cut and turned in one interpolation, to {found.way.canvas_px} px"
    rows = [
        ["native size", f"median {found.middle_px} px: {how}"],
        ["way down", f"{found.down}, {_antialias(found.down_antialias)}"],
        [
            "codec on the small picture",
            f"JPEG near quality {found.quality}, {found.subsampling}"
            if found.codec == "native"
            else "none told",
        ],
        ["way up", up],
        ["files", container_words(found.container)],
        ["distance of mean spectra", f"{found.distance:.3f}"],
    ]
    return Section("Structure", [], [TableBlock("What is the same for all faces", ["part", "found"], rows)])


def _antialias(flag: bool) -> str:
    return "antialiased" if flag else "not antialiased"


def _spec(camera: FittedCamera) -> Section:
    lines = spec_text(short_form(camera.spec)).splitlines()
    return Section(
        "The spec",
        [f"sha256 {camera.spec.digest[:12]}; processor time {camera.cpu_s / 60:.1f} minutes."],
        code=lines,
    )


def _sheets(shown: Sequence[Shown]) -> Section:
    images = [_sheet(one) for one in shown]
    return Section("Crops", ["Test crops, and clean faces of others as each spec makes them."], [], images)


def _sheet(shown: Shown) -> Image:
    cells = [resize_batch(crop[None], _CELL_PX, "bicubic", True)[0] for crop in shown.crops]
    half = max(1, len(cells) // 2)
    grid: ImageU8 = np.concatenate(
        [
            np.concatenate(cells[k * half : (k + 1) * half], axis=1)
            for k in range(2)
            if len(cells) >= (k + 1) * half
        ]
    )
    address = f"data:image/png;base64,{base64.b64encode(encode_png(grid)).decode()}"
    return Image(shown.name, shown.name, address, address)


def _curves(shown: Sequence[Shown]) -> Image:
    kept = shown[:_MOST_CURVES]
    addresses = {theme: _svg(kept, colors["text"], colors["grid"]) for theme, colors in THEMES.items()}
    caption = "Mean log spectrum of luma by band, from the lowest frequency to the highest."
    return Image("spectra", caption, addresses["light"], addresses["dark"])


def _svg(shown: Sequence[Shown], text: str, grid: str) -> str:
    bands = np.array([one.bands for one in shown])
    low, high = float(bands.min()), float(bands.max())
    width, height, left, top = 640, 360, 40, 14
    x = np.linspace(left, width - 10, bands.shape[1])
    y = top + (high - bands) / max(high - low, 1e-9) * (height - top - 110)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif" font-size="13" fill="{text}">'
    ]
    for value in np.linspace(low, high, 5):
        at = top + (high - value) / max(high - low, 1e-9) * (height - top - 110)
        parts.append(
            f'<path d="M{left} {at:.1f}H{width - 10}" stroke="{grid}"/>'
            f'<text x="2" y="{at + 4:.1f}">{value:.0f}</text>'
        )
    dashes = ("", "6 3", "2 3", "8 3 2 3", "1 4")
    for k, (one, row) in enumerate(zip(shown, y, strict=True)):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, row, strict=True))
        stroke = f'fill="none" stroke="{OKABE_ITO[k]}" stroke-width="2" stroke-dasharray="{dashes[k]}"'
        at = height - 70 + 18 * (k % 4)
        beside = left + 300 * (k // 4)
        parts.append(f'<polyline points="{points}" {stroke}/><path d="M{beside} {at - 4}h28" {stroke}/>')
        parts.append(f'<text x="{beside + 36}" y="{at}">{one.name}</text>')
    parts.append("</svg>")
    return f"data:image/svg+xml;base64,{base64.b64encode(''.join(parts).encode()).decode()}"
