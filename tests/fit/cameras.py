"""Crops of cameras that are known, of embedded faces."""

import functools

import numpy as np

from lrfr.core.image import encode_jpeg, encode_png
from lrfr.degrade.spec.model import load_spec
from lrfr.fit.infer.bank import BankMaker, simulate
from lrfr.fit.look.clean_faces import Faces
from lrfr.fit.look.container_marks import Container
from lrfr.fit.look.enlargement import WayUp
from lrfr.fit.look.face_statistics import Gaze
from lrfr.fit.prior_shape import shaped_prior
from lrfr.fit.structure_scan import Structure
from lrfr.pairs.sources.synthetic import render_face

GAZE = Gaze(112, WayUp("bicubic", True, 112), 0, True)
STEPS = "[{op: down, id: d, size: {randint: [20, 30]}, filter: box, antialias: true}, {op: jpeg, id: j, quality: %s}]"


@functools.cache
def person(number, picture=0):
    return render_face(number, picture, 0)[0]


def seen(count, quality="{randint: [40, 60]}", first=0, steps=STEPS, gaze=GAZE):
    """Return crops of people from number ``first`` on."""
    spec = load_spec("version: 1\npipeline: " + (steps % quality if "%s" in steps else steps) + "\n")
    faces = [person(first + k) for k in range(count)]
    return simulate(spec, faces, [b"%d" % (first + k) for k in range(count)], gaze)


def write(folder, pictures, *, jpeg=0):
    folder.mkdir(parents=True, exist_ok=True)
    for k, picture in enumerate(pictures):
        data = encode_jpeg(picture, jpeg) if jpeg else encode_png(picture)
        (folder / f"{k:04d}.{'jpg' if jpeg else 'png'}").write_bytes(data)
    return folder


def write_people(folder, count, first=1000):
    for k in range(count):
        place = folder / f"p{k}"
        place.mkdir(parents=True)
        (place / "0.png").write_bytes(encode_png(person(first + k), 0))
    return folder


def noise(count, seed=0, sigma=10.0):
    random = np.random.default_rng(seed)
    return [
        np.clip(128 + sigma * random.standard_normal((112, 112, 3)), 0, 255).astype(np.uint8)
        for _ in range(count)
    ]


def people_file(folder, count):
    """Return clean faces of people from number 0 on, in a file."""
    np.save(folder / "faces.npy", np.stack([person(k) for k in range(count)]))
    return Faces(folder / "faces.npy", "digest", count)


def bank_of(folder, runner, prior, faces, count=10, rows=(0, 1, 2)):
    """Return a prior, shaped for crops of 24 px that keep their size, and simulated faces of it."""
    native = Structure(((24, 1.0),), "files", "box", True, None, Container("lossless"))
    shaped = shaped_prior(prior, native)
    return shaped, BankMaker(folder, faces, Gaze(112), shaped, runner).make(shaped, count, rows, "bank")
