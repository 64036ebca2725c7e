"""IJB-B and IJB-C: template verification (1:1) and template identification (1:N, both published computations,
named).

A template is a set of images and video frames of one person. Faces are aligned with the five landmarks of the
list, embedded, averaged within each medium, and summed over media. The letters N, D and F are those of
``ijb_11.py``: N1 keeps the norm of each image's embedding, N0 makes it one; D1 weights by the detector score;
F1 adds the mirror image's embedding. (``ijb_evals.py`` calls the opposite of N1 "use_norm_score".)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.image import ImageU8
from lrfr.core.landmarks import TEMPLATE, similarity
from lrfr.eval.embeddings import (
    Embedded,
    Floats,
    Ints,
    arrays_digest,
    checked_embedding,
    embedding_remarks,
    load_image,
)
from lrfr.eval.low_res import Size
from lrfr.eval.protocols.ijb_media import Media, read_media
from lrfr.eval.protocols.layout import file_digest, int_table, need
from lrfr.eval.results import Metric, Result, metric
from lrfr.eval.scoring.intervals import wilson
from lrfr.eval.scoring.metrics import LabelFault, as_bools, auc, eer, is_resolvable, roc, tar_at_far, thin
from lrfr.eval.scoring.search import F32, TIE, hit_scores, search
from lrfr.eval.scoring.templates import (
    POOLINGS,
    image_features,
    legacy_merged,
    pair_scores,
    pooled,
    template_features,
)
from lrfr.eval.settings import SizeCell, Task, size_cells

REVISION = 3
FARS = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
FPIRS = (0.01, 0.1)
GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}
TREE = """
loose_crop/1.jpg ...
meta/{name}_face_tid_mid.txt                   file template medium
meta/{name}_template_pair_label.txt            template template same           (1:1)
meta/{name}_name_5pts_score.txt                file x1 y1 .. x5 y5 score
meta/{name}_1N_gallery_{a}.csv, _{b}.csv, meta/{name}_1N_probe_mixed.csv
                                               template,subject[,...], a line an image  (1:N)"""


def align(image: ImageU8, points: Floats) -> ImageU8:
    """Warp the face to ArcFace's 112x112 template by the least-squares similarity transform (Umeyama, PAMI
    13, 1991).
    """
    import cv2

    matrix = similarity(np.asarray(points, np.float64), TEMPLATE)
    return np.asarray(cv2.warpAffine(image, matrix, (112, 112), borderValue=0.0), np.uint8)


def run_ijb(data: Path, task: Task, *, name: str) -> list[Result]:
    """Evaluate IJB-B or IJB-C: 1:1 and, where the gallery lists are there, 1:N."""
    first, second = GALLERIES[name]
    tree = TREE.format(name=name, a=first, b=second)
    media = read_media(data, name, tree)
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
        features = _with_empty(features, media)
        # beside the switches' own pooling: of all images, whatever their medium, score and mirror image
        poolings = {
            how: _with_empty(pooled(embedded.plain, media.template, how)[0], media) for how in POOLINGS
        }
        numbers = np.concatenate([names, media.empty])
        templates = Templates(data, name, tree, features, numbers, media, poolings)
        cell = ("same" if size_a == size_b else "cross", size_a, size_b)
        results.append(_verification(templates, task, cell))
        if (data / "meta" / f"{name}_1N_probe_mixed.csv").exists():
            results.append(_identification(templates, task, cell))
    return results


def _with_empty(features: F32, media: Media) -> F32:
    """Return features with a zero row for each template without an image."""
    return np.concatenate([features, np.zeros((len(media.empty), features.shape[1]), np.float32)])


def _embed_media(task: Task, media: Media, size: Size, mirror_size: Size) -> Embedded:
    """Embed the aligned crops at ``size`` and their mirror images at ``mirror_size`` (they differ in BTNet's
    cross-resolution test).
    """
    plain, mirrored = [], []
    shrink, batch = task.settings.low_res, task.settings.batch
    for start in range(0, len(media.files), batch):
        rows = range(start, min(start + batch, len(media.files)))
        faces = [align(load_image(media.files[i]), media.points[i]) for i in rows]
        names = [media.files[i].name for i in rows]
        keys = [name.encode("utf-8", "surrogateescape") for name in names]
        plain.append(checked_embedding(task.embed, shrink.apply(faces, size, keys), names))
        flipped = [np.ascontiguousarray(face[:, ::-1]) for face in faces]
        # cross-resolution in BTNet shrinks the mirror image alone, so it has a size of its own
        mirrored.append(checked_embedding(task.embed, shrink.apply(flipped, mirror_size, keys), names))
        task.hooks.progress(rows[-1] + 1, len(media.files))
    return Embedded(np.concatenate(plain), np.concatenate(mirrored))


def _blank(task: Task, name: str, protocol: str, cell: SizeCell) -> Result:
    settings = task.settings
    flip = settings.fusion("sum")
    switches = f"N{int(settings.template_norm == 'keep')}D{int(settings.detector_score)}F{int(flip == 'sum')}"
    return replace(
        task.blank(name, protocol, cell, flip),
        revision=REVISION,
        alignment="five landmarks to the ArcFace template",
        more={"switches": switches},
    )


@dataclass(frozen=True)
class Templates:
    """Unit template features [T, D] with their numbers, where the lists lie, and the images behind them; and
    the features by other poolings.
    """

    data: Path
    name: str
    tree: str
    features: F32
    numbers: Ints
    media: Media
    poolings: Mapping[str, F32] = field(default_factory=dict)

    def list_file(self, part: str) -> Path:
        """Return a list of the ``meta`` folder, or say which one is missing."""
        return need(self.data, f"meta/{self.name}_{part}", self.tree)

    def rows(self, wanted: Ints, path: Path) -> Ints:
        """Return the rows of template numbers.

        Raises:
            DataError: some have no image in the list of faces: how many, and the first with its line.

        """
        order = np.argsort(self.numbers)
        place = np.minimum(np.searchsorted(self.numbers, wanted, sorter=order), len(order) - 1)
        rows = order[place]
        lost = np.flatnonzero(self.numbers[rows] != wanted)
        if len(lost):
            first, count = int(wanted[lost[0]]), len(np.unique(wanted[lost]))
            raise DataError(
                f"{count} of {len(np.unique(wanted))} templates are in no line of "
                f"{self.name}_face_tid_mid.txt, the first: template {first} has no image",
                file=str(path),
            )
        return np.asarray(rows, np.int64)

    def result(self, task: Task, protocol: str, cell: SizeCell) -> Result:
        """Return a result without numbers."""
        made = _blank(task, self.name, protocol, cell)
        media = self.media
        remarks = (*media.remarks, *embedding_remarks(self.features[: len(self.features) - len(media.empty)]))
        return replace(made, counts=media.counts, remarks=remarks, files=media.record)


def _verification(templates: Templates, task: Task, cell: SizeCell) -> Result:
    path = templates.list_file("template_pair_label.txt")
    table = int_table(path, 3)
    left, right = templates.rows(table[:, 0], path), templates.rows(table[:, 1], path)
    try:
        same = as_bools(table[:, 2])
    except LabelFault as fault:
        raise DataError(fault.message, file=str(path), line=fault.row + 1, hint=fault.hint) from None
    both = np.minimum(left, right) * len(templates.numbers) + np.maximum(left, right)
    odd = {"n_self": int((left == right).sum()), "n_duplicate": len(both) - len(np.unique(both))}
    scores = pair_scores(templates.features, left, right)
    curve = roc(scores, same)
    metrics = {}
    for far in FARS:
        point = tar_at_far(curve, far)
        interval = wilson(round(point.tar * curve.n_pos), curve.n_pos)
        metrics[f"TAR@FAR={far:g}"] = metric(point.tar, curve.n_pos, interval, resolvable=point.resolvable)
    metrics |= {"EER": metric(eer(curve), len(same)), "AUC": metric(auc(curve), len(same))}
    for how, features in templates.poolings.items():
        other = roc(pair_scores(features, left, right), same)
        for far in FARS:
            point = tar_at_far(other, far)
            metrics[f"TAR@FAR={far:g}, {POOLINGS[how]}"] = metric(
                point.tar, other.n_pos, resolvable=point.resolvable
            )
    blank = templates.result(task, "template verification", cell)
    return replace(
        blank,
        metrics=metrics,
        protocol_digest=file_digest(path),
        list_digest=arrays_digest(*templates.media.sets(), left, right, same),
        counts={"n_pos": curve.n_pos, "n_neg": curve.n_neg, **odd, **blank.counts},
        min_far=curve.min_far,
        curves={"roc": thin(curve)},
    )


def _identification(templates: Templates, task: Task, cell: SizeCell) -> Result:
    parts = [f"1N_gallery_{letter}.csv" for letter in GALLERIES[templates.name]]
    paths = [templates.list_file(part) for part in (*parts, "1N_probe_mixed.csv")]
    tables = [_subjects(path) for path in paths]
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
    outside = int((~np.isin(probe_id, merged_id)).sum())
    blank = templates.result(task, "template identification", cell)
    told = (f"{outside} of {len(probe)} probes have their person in neither gallery: strangers to both",)
    return replace(
        blank,
        metrics=metrics,
        protocol_digest=file_digest(*paths),
        list_digest=arrays_digest(*templates.media.sets(), *tables),
        counts={"n_gallery": len(merged), "n_probe": len(probe), "n_probe_outside": outside, **blank.counts},
        remarks=(*blank.remarks, *(told if outside else ())),
    )


def _subjects(path: Path) -> Ints:
    """Return each template once with its person, [T, 2], in ascending order of templates.

    The lists as distributed have a line for each image of a template.

    Raises:
        DataError: a template has two people.

    """
    table = int_table(path, 2)
    pairs = np.unique(table, axis=0)
    twice = np.flatnonzero(pairs[1:, 0] == pairs[:-1, 0])
    if len(twice):
        (template, one), (_, other) = pairs[twice[0] : twice[0] + 2].tolist()
        raise DataError(f"template {template} is of person {one} and of person {other}", file=str(path))
    return pairs


def per_gallery(probe: F32, probe_id: Ints, galleries: Sequence[tuple[F32, Ints]]) -> dict[str, Metric]:
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
            raise DataError(
                f"{int(enrolled.sum())} of {len(enrolled)} probes are of a gallery's people; it needs "
                f"probes of its own people and of others"
            )
        mated = search(probe[enrolled], probe_id[enrolled], gallery, gallery_id)
        strangers = search(probe[~enrolled], probe_id[~enrolled], gallery, gallery_id)
        # over all probes: each has its mate in one of the two galleries
        ranks.append(mated.rank)
        fewest = min(fewest, len(strangers.rank))
        ordered = np.sort(strangers.best_other)[::-1]
        for target in FPIRS:
            threshold = ordered[max(int(len(ordered) * target) - 1, 0)]
            tpir[target].append(float((hit_scores(mated, 1) > threshold + TIE).mean()))
    rank = np.concatenate(ranks)
    body = {}
    for target, values in tpir.items():
        resolvable = is_resolvable(target, fewest)
        body[f"TPIR@FPIR={target:g}"] = metric(
            float(np.mean(values)), len(rank), resolvable=resolvable, per_gallery=values
        )
    return body | {f"rank-{k}": metric(float((rank <= k).mean()), len(rank)) for k in (1, 5, 10)}
