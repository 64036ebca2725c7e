"""IJB-B and IJB-C: template verification (1:1) and template identification (1:N, both published computations,
named).

A template is a set of images and video frames of one person. Faces are aligned with the five landmarks of the
list, embedded, averaged within each medium, and summed over media. The letters N, D and F are those of
``ijb_11.py``: N1 keeps the norm of each image's embedding, N0 makes it one; D1 weights by the detector score;
F1 adds the mirror image's embedding. (``ijb_evals.py`` calls the opposite of N1 "use_norm_score".)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.image import ImageU8
from lrfr.eval.embeddings import Embedded, Floats, Ints, Size, checked_embedding, load_image, unit
from lrfr.eval.protocols.layout import file_digest, inside, int_table, integer, need, rows_of
from lrfr.eval.results import Result, make_result, metric
from lrfr.eval.scoring.intervals import wilson
from lrfr.eval.scoring.metrics import F64, auc, eer, is_resolvable, roc, tar_at_far, thin
from lrfr.eval.scoring.search import F32, GALLERY_BLOCK, PROBE_BLOCK, hit_scores, search
from lrfr.eval.settings import Task, size_cells

FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FPIRS = (0.01, 0.1)
GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}
# ArcFace's five points in a 112x112 crop (the 96-wide template moved by 8 px): eyes, nose, mouth corners
TEMPLATE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    dtype=np.float64,
)
TREE = """
loose_crop/1.jpg ...
meta/{name}_face_tid_mid.txt                   file template medium
meta/{name}_template_pair_label.txt            template template same           (1:1)
meta/{name}_name_5pts_score.txt                file x1 y1 .. x5 y5 score
meta/{name}_1N_gallery_{a}.csv, _{b}.csv, meta/{name}_1N_probe_mixed.csv        (1:N)  template,subject"""


@dataclass(frozen=True)
class Media:
    """The images of all templates: file names, landmarks [N, 5, 2] in px, detector scores [N], template and
    medium numbers [N].
    """

    files: list[Path]
    points: Floats
    detector: Floats
    template: Ints
    medium: Ints


def align(image: ImageU8, points: Floats) -> ImageU8:
    """Warp the face to ArcFace's 112x112 template by the least-squares similarity transform (Umeyama, PAMI
    13, 1991).
    """
    import cv2

    return np.asarray(
        cv2.warpAffine(image, similarity_transform(points, TEMPLATE_POINTS), (112, 112), borderValue=0.0),
        np.uint8,
    )


def similarity_transform(source: Floats, target: Floats) -> Floats:
    """Return the 2x3 matrix of scale, rotation and shift that takes ``source`` [K, 2] nearest to ``target``
    [K, 2].
    """
    a, b = np.asarray(source, np.float64), np.asarray(target, np.float64)
    center_a, center_b = a.mean(axis=0), b.mean(axis=0)
    x, y = a - center_a, b - center_b
    # in complex numbers a similarity is one multiplication: least squares gives it directly
    z, w = x[:, 0] + 1j * x[:, 1], y[:, 0] + 1j * y[:, 1]
    power = float((z * z.conj()).real.sum())
    if power == 0:
        raise DataError("the five landmarks are one point")
    factor = (z.conj() * w).sum() / power
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.concatenate([linear, (center_b - linear @ center_a)[:, None]], axis=1)


def image_features(embedded: Embedded, detector: Floats, *, norm: str, use_detector: bool, flip: bool) -> F32:
    """Return one feature per image under the N, D and F switches: ``norm`` is ``keep`` (N1) or ``unit``
    (N0).
    """
    feature = embedded.fuse("sum" if flip else "none")
    if norm == "unit":
        feature = unit(feature)
    return (feature * np.asarray(detector, np.float32)[:, None]) if use_detector else feature


def template_features(feature: F32, template: Ints, medium: Ints) -> tuple[F32, Ints]:
    """Return unit template features [T, D] and their numbers in ascending order: mean within a medium, sum
    over media.
    """
    pairs, place = np.unique(np.stack([template, medium]), axis=1, return_inverse=True)
    total = np.zeros((pairs.shape[1], feature.shape[1]), np.float64)
    np.add.at(total, place.reshape(-1), feature)
    per_medium = total / np.bincount(place.reshape(-1))[:, None]
    names, owner = np.unique(pairs[0], return_inverse=True)
    summed = np.zeros((len(names), feature.shape[1]), np.float64)
    np.add.at(summed, owner, per_medium)
    return unit(summed.astype(np.float32)), names.astype(np.int64)


def legacy_merged(
    probe: F32, probe_id: Ints, gallery: F32, gallery_id: Ints, fpirs: Sequence[float]
) -> dict[float, float]:
    """Return what ``ijb_1n.py`` prints: share of mated similarities above the ceil(Q * FPIR)-th largest of
    ALL non-mated ones.

    It merges both galleries and asks for no rank, so it is not a TPIR at an FPIR; BTNet's Tables 7 and 8 are
    made this way.
    """
    keep = max(math.ceil(len(probe) * f) for f in fpirs)
    best, mates = np.empty(0, np.float32), np.full(len(probe), -2.0, np.float32)
    unit_probe = unit(probe)
    for start in range(0, len(gallery), GALLERY_BLOCK):
        block, label = unit(gallery[start : start + GALLERY_BLOCK]), gallery_id[start : start + GALLERY_BLOCK]
        for first in range(0, len(probe), PROBE_BLOCK):
            part = slice(first, first + PROBE_BLOCK)
            scores = unit_probe[part] @ block.T
            own = probe_id[part, None] == label[None, :]
            mates[part] = np.maximum(mates[part], np.where(own, scores, -2.0).max(axis=1))
            best = np.concatenate([best, scores[~own]])
            if len(best) > keep:
                best = np.partition(best, len(best) - keep)[-keep:]
    ordered = np.sort(best)[::-1]
    return {f: float((mates > ordered[math.ceil(len(probe) * f) - 1]).mean()) for f in fpirs}


def run_ijb(data: Path, task: Task, *, name: str) -> list[Result]:
    """Evaluate IJB-B or IJB-C: 1:1 and, where the gallery lists are there, 1:N."""
    first, second = GALLERIES[name]
    tree = TREE.format(name=name, a=first, b=second)
    media = _read_media(data, name, tree)
    results = []
    for _, size_a, size_b in size_cells(task.settings, (112,)):
        embedded = _embed_media(task, media, size_a, size_b)
        feature = image_features(
            embedded,
            media.detector,
            norm=task.settings.template_norm,
            use_detector=task.settings.detector_score,
            flip=task.settings.fusion("sum") == "sum",
        )
        features, names = template_features(feature, media.template, media.medium)
        templates = Templates(data, name, tree, features, names)
        cell = "same" if size_a == size_b else "cross"
        found = [_verification(templates, task)]
        if (data / "meta" / f"{name}_1N_probe_mixed.csv").exists():
            found.append(_identification(templates, task))
        results += [
            result | _common(task, name) | {"matching": cell, "sizes": [size_a, size_b]} for result in found
        ]
    return results


def _read_media(data: Path, name: str, tree: str) -> Media:
    tid_path = need(data, f"meta/{name}_face_tid_mid.txt", tree)
    points_path = need(data, f"meta/{name}_name_5pts_score.txt", tree)
    crops = need(data, "loose_crop", tree)
    rows, marks = rows_of(tid_path, 3), rows_of(points_path, 12)
    if len(rows) != len(marks) or any(row[0] != mark[0] for row, mark in zip(rows, marks, strict=True)):
        raise DataError(f"does not list the same images as {tid_path.name}", file=str(points_path))
    try:
        numbers = np.array([mark[1:12] for mark in marks], np.float64)
    except ValueError as error:
        raise DataError(str(error), file=str(points_path)) from None
    return Media(
        files=[inside(crops, row[0]) for row in rows],
        points=numbers[:, :10].reshape(-1, 5, 2),
        detector=numbers[:, 10],
        template=np.array([integer(row[1], tid_path, i) for i, row in enumerate(rows, 1)], np.int64),
        medium=np.array([integer(row[2], tid_path, i) for i, row in enumerate(rows, 1)], np.int64),
    )


def _embed_media(task: Task, media: Media, size: Size, mirror_size: Size) -> Embedded:
    """Embed the aligned crops at ``size`` and their mirror images at ``mirror_size`` (they differ in BTNet's
    cross-resolution test).
    """
    plain, mirrored = [], []
    shrink, batch = task.settings.low_res, task.settings.batch
    for start in range(0, len(media.files), batch):
        rows = range(start, min(start + batch, len(media.files)))
        faces = [align(load_image(media.files[i]), media.points[i]) for i in rows]
        keys = [media.files[i].name.encode() for i in rows]
        plain.append(checked_embedding(task.embed, shrink.apply(faces, size, keys)))
        flipped = [np.ascontiguousarray(face[:, ::-1]) for face in faces]
        mirrored.append(checked_embedding(task.embed, shrink.apply(flipped, mirror_size, keys)))
        if task.on_progress:
            task.on_progress(rows[-1] + 1, len(media.files))
    return Embedded(np.concatenate(plain), np.concatenate(mirrored))


def _common(task: Task, name: str) -> dict[str, object]:
    settings = task.settings
    flip = settings.fusion("sum")
    return {
        "benchmark": name,
        "switches": (
            f"N{int(settings.template_norm == 'keep')}D{int(settings.detector_score)}F{int(flip == 'sum')}"
        ),
        "flip": flip,
        **settings.low_res.describe(),
        "alignment": "five landmarks to the ArcFace template",
        "finetuned": settings.finetuned,
    }


@dataclass(frozen=True)
class Templates:
    """Unit template features [T, D] with their numbers, and where the lists lie."""

    data: Path
    name: str
    tree: str
    features: F32
    numbers: Ints

    def list_file(self, part: str) -> Path:
        """Return a list of the ``meta`` folder, or say which one is missing."""
        return need(self.data, f"meta/{self.name}_{part}", self.tree)

    def rows(self, wanted: Ints, path: Path) -> Ints:
        """Return the rows of template numbers."""
        place = np.searchsorted(self.numbers, wanted)
        known = self.numbers[np.minimum(place, len(self.numbers) - 1)] == wanted
        if not known.all():
            raise DataError(f"template {int(wanted[~known][0])} has no image", file=str(path))
        return np.asarray(place, np.int64)


def _verification(templates: Templates, task: Task) -> Result:
    path = templates.list_file("template_pair_label.txt")
    table = int_table(path, 3)
    left, right, same = templates.rows(table[:, 0], path), templates.rows(table[:, 1], path), table[:, 2] == 1
    scores = pair_scores(templates.features, left, right)
    curve = roc(scores, same)
    metrics = {}
    for far in FARS:
        point = tar_at_far(curve, far)
        interval = wilson(round(point.tar * curve.n_pos), curve.n_pos)
        metrics[f"TAR@FAR={far:g}"] = metric(point.tar, curve.n_pos, interval, resolvable=point.resolvable)
    metrics |= {"EER": metric(eer(curve), len(same)), "AUC": metric(auc(curve), len(same))}
    return make_result(
        task.model,
        benchmark=templates.name,
        protocol="template verification",
        metrics=metrics,
        protocol_digest=file_digest(path),
        n_pos=curve.n_pos,
        n_neg=curve.n_neg,
        min_far=curve.min_far,
        curves={"roc": thin(curve)},
    )


def pair_scores(features: F32, left: Ints, right: Ints, block: int = 20_000) -> F64:
    """Return the cosine of each pair of rows in blocks, so that fifteen million pairs need no copy of their
    features.
    """
    rows = unit(features)
    out = np.empty(len(left), np.float64)
    for start in range(0, len(left), block):
        part = slice(start, start + block)
        out[part] = np.einsum("pd,pd->p", rows[left[part]], rows[right[part]])
    return out


def _identification(templates: Templates, task: Task) -> Result:
    parts = [f"1N_gallery_{letter}.csv" for letter in GALLERIES[templates.name]]
    paths = [templates.list_file(part) for part in (*parts, "1N_probe_mixed.csv")]
    tables = [int_table(path, 2, delimiter=",", skip=1) for path in paths]
    *galleries, (probe, probe_id) = [
        (templates.features[templates.rows(table[:, 0], path)], table[:, 1])
        for table, path in zip(tables, paths, strict=True)
    ]
    metrics = per_gallery(probe, probe_id, galleries)
    merged, merged_id = (
        np.concatenate([g for g, _ in galleries]),
        np.concatenate([label for _, label in galleries]),
    )
    for target, value in legacy_merged(probe, probe_id, merged, merged_id, FPIRS).items():
        metrics[f"legacy-merged@{target:g}"] = metric(value, len(probe))
    return make_result(
        task.model,
        benchmark=templates.name,
        protocol="template identification",
        metrics=metrics,
        protocol_digest=file_digest(*paths),
        n_gallery=len(merged),
        n_probe=len(probe),
    )


def per_gallery(
    probe: F32, probe_id: Ints, galleries: Sequence[tuple[F32, Ints]]
) -> dict[str, dict[str, object]]:
    """Return what ``ijb_evals.py`` prints: TPIR as the mean of the galleries, strangers being the other
    gallery's people.

    Its threshold is the strangers' best scores in descending order at index ``max(int(n * FPIR) - 1, 0)``; a
    hit lies above it and above everybody else in the gallery. Ranks 1, 5 and 10 are over all probes.
    """
    tpir: dict[float, list[float]] = {target: [] for target in FPIRS}
    ranks, fewest = [], len(probe)
    for gallery, gallery_id in galleries:
        enrolled = np.isin(probe_id, gallery_id)
        if enrolled.all() or not enrolled.any():
            raise DataError("a gallery needs probes of its own people and of others")
        mated = search(probe[enrolled], probe_id[enrolled], gallery, gallery_id)
        strangers = search(probe[~enrolled], probe_id[~enrolled], gallery, gallery_id)
        ranks.append(mated.rank)
        fewest = min(fewest, len(strangers.rank))
        ordered = np.sort(strangers.best_other)[::-1]
        for target in FPIRS:
            threshold = ordered[max(int(len(ordered) * target) - 1, 0)]
            tpir[target].append(float((hit_scores(mated, 1) > threshold).mean()))
    rank = np.concatenate(ranks)
    body = {}
    for target, values in tpir.items():
        resolvable = is_resolvable(target, fewest)
        body[f"TPIR@FPIR={target:g}"] = metric(
            float(np.mean(values)), len(rank), resolvable=resolvable, per_gallery=values
        )
    return body | {f"rank-{k}": metric(float((rank <= k).mean()), len(rank)) for k in (1, 5, 10)}
