"""One step for each op, run on the stand-in faces; prints op -> digest of the bytes. Used in this process and
in others.
"""

from __future__ import annotations

import hashlib
import json

from tests.degrade.samples import faces, keys, pipeline

STEPS = {
    "resize": "size: {randint: [5, 150]}, filter: bicubic, antialias: true",
    "down": "size: {choice: [7, 14, 20, 28, 56]}, filter: {choice: [bilinear, bicubic, box, hamming, lanczos]}, antialias: true",
    "up": "size: 150, filter: bilinear, antialias: true",
    "down_up": "ratio: {uniform: [0.1, 0.9]}, filter: {choice: [area, nearest, nearest_exact]}, antialias: false",
    "gaussian_blur": "sigma: {uniform: [0.2, 6]}",
    "motion_blur": "length: {uniform: [1, 31]}, angle: {uniform: [0, 180]}",
    "defocus": "radius: {uniform: [0, 9]}",
    "kernel_mix": "family: {choice: [iso, generalized_aniso, plateau_aniso, sinc]}, size: {randint: [7, 21]}, sigma_x: {uniform: [0.2, 3]}, angle: 30",
    "gaussian_noise": "sigma: {uniform: [1, 30]}, gray_p: 0.4",
    "poisson_noise": "photons: {log_uniform: [16, 128]}, gray_p: 0.4",
    "speckle": "sigma: {uniform: [0, 0.5]}, gray_p: 0.4",
    "read_noise": "electrons: {uniform: [1, 40]}",
    "jpeg": "quality: {randint: [10, 95]}, subsampling: {choice: [420, 422, 444]}, times: {randint: [1, 2]}",
    "webp": "quality: {randint: [10, 90]}",
    "gamma": "gamma: {uniform: [0.3, 3]}",
    "brightness": "factor: {uniform: [0.3, 2]}",
    "contrast": "factor: {uniform: [0.3, 2]}",
    "saturation": "factor: {uniform: [0, 2]}",
    "low_light": "exposure: {uniform: [0.05, 1]}",
    "illumination": "strength: {uniform: [0, 1]}, angle: {uniform: [0, 360]}",
    "color_cast": "red: {uniform: [0.5, 1.5]}, blue: {uniform: [0.5, 1.5]}",
    "grayscale": "",
    "occlude": "area: {uniform: [0, 0.6]}, x: {uniform: [0, 1]}, y: {uniform: [0, 1]}, fill: {randint: [0, 255]}",
    "identity": "",
}


def digests(backwards: bool = False, batch: int = 12) -> dict[str, str]:
    """Return op -> sha256 over the bytes of 12 faces of 112 px and 6 of 29 px."""
    images, names = faces(12) + faces(6, 29), keys(18)
    found = {}
    for op, parameters in STEPS.items():
        run = pipeline(f"  - {{op: {op}, id: s{', ' if parameters else ''}{parameters}}}\n")
        order = list(range(18))[:: -1 if backwards else 1]
        results = {}
        for start in range(0, 18, batch):
            rows = order[start : start + batch]
            results |= dict(
                zip(rows, run.run([names[r] for r in rows], [images[r] for r in rows]), strict=True)
            )
        digest = hashlib.sha256()
        for row in range(18):
            digest.update(str(results[row].image.shape).encode() + results[row].image.tobytes())
        found[op] = digest.hexdigest()[:24]
    return found


if __name__ == "__main__":
    print(json.dumps(digests(), sort_keys=True))
