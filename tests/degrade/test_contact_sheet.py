"""Contact sheets: what was drawn under each picture, what is fixed once at the head, nothing cut off."""

from __future__ import annotations

import numpy as np
from PIL import ImageFont

from lrfr.degrade.inspect import contact_sheet as sheet
from lrfr.degrade.inspect.picture_grid import TEXT_PX, Cell, picture_grid, wrapped
from lrfr.degrade.pipeline import Pipeline
from lrfr.degrade.spec.model import load_spec, parse_spec
from tests.degrade.samples import faces, keys

STEPS = """version: 1
pipeline:
  - {id: a, op: down, size: {choice: [14]}, filter: bicubic, antialias: true}
  - {id: j, op: jpeg, quality: {randint: [30, 95]}, subsampling: "420"}
  - {id: k, op: jpeg, p: 0.5, quality: 50, subsampling: "444"}
  - {id: n, steps: [{op: gaussian_noise, sigma: {uniform: [1, 9]}, gray_p: 0.5}], repeat: 2}
"""


def rows_of(spec, count):
    pipeline = Pipeline(spec)
    images = faces(count)
    found = pipeline.run(keys(count), images)
    return [
        sheet.SheetRow(f"face {k}", image, [item])
        for k, (image, item) in enumerate(zip(images, found, strict=True))
    ]


def texts(spec, count):
    rows = rows_of(spec, count)
    traces = [item.trace for row in rows for item in row.variants]
    fixed = sheet.fixed_params(traces, spec)
    return sheet._heads(traces, fixed), [sheet.caption(trace, fixed) for trace in traces]


def test_captions_hold_what_was_drawn_and_the_head_what_is_fixed():
    heads, captions = texts(parse_spec(STEPS), 12)
    assert heads == [
        "down: filter bicubic, antialias",
        "jpeg (j): subsampling 420",
        "jpeg (k): subsampling 444, quality 50",
    ]
    for lines in captions:
        # drawn, though there is one choice only and all faces have it
        assert lines[0] == "down: size 14"
        assert lines[1].startswith("jpeg: quality ")
        assert "jpeg" not in lines[2:] or lines[2] == "jpeg"
        assert sum(line.startswith("gaussian_noise: sigma ") for line in lines) == 2
        assert not any("subsampling" in line or "bicubic" in line for line in lines)


def test_a_single_picture_says_once_what_is_fixed_and_once_what_was_drawn():
    heads, captions = texts(parse_spec(STEPS), 1)
    assert (
        heads[:2] == ["down: filter bicubic, antialias", "jpeg (j): subsampling 420"]
        or heads[1] == "jpeg: subsampling 420"
    )
    assert captions[0][0] == "down: size 14"


def test_turbulence_says_its_geometry_once():
    heads, captions = texts(load_spec("turb"), 3)
    assert heads == [
        "turbulence: aperture_m 0.1, range_m 800, wavelength_nm 500, pixel_m 0.002, q 2, mode learned, calibration physical, optics diffraction"
    ]
    assert all(
        line[0].startswith("turbulence: D_over_r0 ") and "aperture" not in line[0] for line in captions
    )


def test_severity_is_drawn_and_what_follows_from_it_too():
    spec = parse_spec("version: 1\npipeline:\n  - {op: gaussian_blur, severity: {uniform: [0, 1]}}\n")
    heads, captions = texts(spec, 3)
    assert heads == []
    assert all("severity" in line[0] and "sigma" in line[0] for line in captions)


def test_faces_stand_side_by_side_and_sheets_of_any_number_are_whole():
    spec = parse_spec(STEPS)
    for count in (1, 3, 8, 30):
        page = sheet.contact_sheet(
            rows_of(spec, count), spec, "a title that is much too long for a page that shows one face alone"
        )
        assert page.shape[1] == 8 + 2 * min(count, 4) * (sheet.CELL_PX + 8)
        # white margins on all sides: nothing is cut off
        assert (page[:, -4:] == 255).all() and (page[-4:] == 255).all()
        assert page.shape[0] < 330 * -(-count // 4) + 100


def test_lines_break_at_blanks_and_keep_their_words():
    font = ImageFont.load_default(TEXT_PX)
    text = "kernel_mix: family generalized_aniso, size 21, sigma_x 1.2, sigma_y 0.694, angle 148, beta 0.648"
    lines = wrapped([text], font, 120)
    assert len(lines) > 2 and " ".join(line.strip() for line in lines) == text
    assert all(font.getlength(line) <= 120 or " " not in line.strip() for line in lines)
    assert all(line.startswith("  ") for line in lines[1:])
    plain = picture_grid([[Cell(np.zeros((20, 20, 3), np.uint8))]])
    assert plain.shape == (36, 36, 3)
