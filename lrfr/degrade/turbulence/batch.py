"""Run recorded parameters on a batch: group by geometry, draw the noise from the streams, hand over to the
simulator.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lrfr.core.image import ImageU8
from lrfr.core.streams import Stream
from lrfr.degrade.turbulence.field import Geometry, normals_from_words
from lrfr.degrade.turbulence.physics.optics import Optics
from lrfr.degrade.turbulence.simulator import Simulator, simulator

Params = Mapping[str, Any]  # as drawn by the op, which imports this module


def run_batch(
    images: Sequence[ImageU8], params: Sequence[Params], streams: Sequence[Stream]
) -> list[ImageU8]:
    """Degrade images of any sizes by the parameters that the op ``turbulence`` sampled."""
    simulators = [_simulator_for(image, p) for image, p in zip(images, params, strict=True)]
    done: dict[int, ImageU8] = {}
    # faces of one geometry share constants and buffers, so they run together
    for one in dict.fromkeys(simulators):
        rows = [row for row, other in enumerate(simulators) if other is one]
        strengths = [params[row]["D_over_r0"] for row in rows]
        calibrations = [params[row]["calibration"] for row in rows]
        normals = (_normals(one, params[row], streams[row]) for row in rows)
        done.update(
            zip(rows, one.run([images[row] for row in rows], strengths, calibrations, normals), strict=True)
        )
    return [done[row] for row in range(len(images))]


def _simulator_for(image: ImageU8, p: Params) -> Simulator:
    camera = Optics(p["aperture_m"], p["range_m"], p["wavelength_nm"], p["pixel_m"])
    outer_scale_m = p["outer_scale_m"]
    geometry = Geometry(
        height_px=image.shape[0],
        width_px=image.shape[1],
        pixel_over_aperture=camera.pixel_over_aperture,
        pixels_per_airy=camera.pixels_per_airy,
        outer_scale_over_aperture=outer_scale_m / p["aperture_m"] if outer_scale_m else math.inf,
    )
    return simulator(geometry, p["mode"], p["optics"])


def _normals(one: Simulator, p: Params, stream: Stream) -> Tensor:
    """Return a picture's noise: one field, or the frame of a sequence that began some variants ago."""
    modes = one.num_modes(p["D_over_r0"], p["calibration"])
    count = one.field.num_normals(modes)
    if not p["temporal"]:
        return normals_from_words(stream.words_u16(count))
    frame = stream.variant % p["temporal"]["frames"]
    first = stream.of_variant(stream.variant - frame)
    normals = normals_from_words(first.words_u16(count))
    # a frame is computed from the first on: variants may be made in any order and on any machine
    for k in range(1, frame + 1):
        normals = one.field.next_frame(
            normals, normals_from_words(first.words_u16(count, f"frame{k}")), p["temporal"]["rho"], modes
        )
    return normals
