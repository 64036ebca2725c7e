"""What a nominal D/r0 stands for: physics, or the strengths of the public P2S code of 2021."""

from __future__ import annotations

from dataclasses import dataclass

MAX_BLUR_D_OVER_R0 = 10.0  # the strongest bank's end


@dataclass(frozen=True)
class Calibration:
    """The blur is that of ``blur`` * D/r0; the shift's standard deviation is theory times ``tilt_x`` and
    ``tilt_y``.
    """

    blur: float
    tilt_x: float
    tilt_y: float


# p2s2021 has the strengths of the public P2S code of 2021, which CATFace used: its phase is 2 pi times a sum
# of un-normalized Zernikes, 2.6247 times too large in rms (2.6247^(6/5) = 3.183 in D/r0), and its tilt
# variance is 1.98 times theory. The port to torch >= 1.10 also draws unequal axes. Only strengths are
# reproduced, not that code's artifacts.
CALIBRATIONS: dict[str, Calibration] = {
    "physical": Calibration(1.0, 1.0, 1.0),
    "p2s2021": Calibration(3.183, 1.41, 1.41),
    "p2s2021_port": Calibration(3.183, 1.77, 1.11),
}
