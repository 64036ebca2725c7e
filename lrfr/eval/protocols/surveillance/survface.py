"""QMUL-SurvFace: open-set identification (TPIR20 at FPIR, area) and verification, compared by the identities
of its own lists.

The published scripts number identities by first appearance, separately in gallery and probes, and so assume
that both lists have the same order of people. Here the ids of the two files are compared, whatever their
order.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Ints, embedding_remarks, unit
from lrfr.eval.low_res import Size
from lrfr.eval.pairs import Searched, SearchList, agrees, arranged_search, pair_list
from lrfr.eval.protocols.identify import digest_of, open_set_metrics
from lrfr.eval.protocols.layout import cell_strings, listed_file, load_mat, need
from lrfr.eval.protocols.seen import Ledger, check_there, listed_in_mat
from lrfr.eval.protocols.verification import verify
from lrfr.eval.results import Metric, Result, metric
from lrfr.eval.scoring.search import F32, Search, official_sweep, open_set_auc, search
from lrfr.eval.settings import NATIVE, Task, size_cells, with_draws

REVISION = 2
RANK_LIMIT = 20
FPIRS = (0.3, 0.2, 0.1, 0.01)
TREE = """
Face_Identification_Test_Set/gallery/, mated_probe/, unmated_probe/
Face_Identification_Test_Set/gallery_img_ID_pairs.mat         variables gallery_set, gallery_ids
Face_Identification_Test_Set/mated_probe_img_ID_pairs.mat     variables mated_probe_set, mated_probe_ids
Face_Verification_Test_Set/verification_images/
Face_Verification_Test_Set/positive_pairs_names.mat, negative_pairs_names.mat"""


def templates(features: F32, ids: Ints, mean: str) -> tuple[F32, Ints]:
    """Return one template per person: the mean of ``raw`` or of ``unit`` features, and the people's ids in
    ascending order.
    """
    people, place = np.unique(ids, return_inverse=True)
    total = np.zeros((len(people), features.shape[1]), np.float64)
    np.add.at(total, place, unit(features) if mean == "unit" else features)
    return (total / np.bincount(place)[:, None]).astype(np.float32), people


def run_survface(data: Path, task: Task) -> list[Result]:
    """Evaluate whichever of the two test sets is there."""
    root = (
        data
        if (data / "Face_Identification_Test_Set").exists() or not (data / "QMUL-SurvFace").exists()
        else data / "QMUL-SurvFace"
    )
    parts = [root / "Face_Identification_Test_Set", root / "Face_Verification_Test_Set"]
    if not any(part.exists() for part in parts):
        need(root, [part.name for part in parts], TREE)
    results: list[Result] = []
    if parts[0].exists():
        results += _identification(parts[0], task)
    if parts[1].exists():
        results += _verification(parts[1], task)
    return results


def _identification(root: Path, task: Task) -> list[Result]:
    ledger = Ledger()
    found = [
        listed_in_mat(need(root, f"{stem}_img_ID_pairs.mat", TREE), stem, need(root, stem, TREE), ledger)
        for stem in ("gallery", "mated_probe")
    ]
    unmated = ledger.pictures(need(root, "unmated_probe", TREE))
    if not unmated:
        raise DataError("no unmated probes", file=str(root / "unmated_probe"))
    digest = digest_of(*[[path.name for path in part] for part in (found[0][0], found[1][0], unmated)])
    lists = SearchList("survface", *found[0], *found[1], unmated, digest=digest, files=ledger.files())
    searched = arranged_search(lists)
    return [_one_size(task, searched, size) for _, _, size in size_cells(task.settings, NATIVE)]


def _one_size(task: Task, searched: Searched, size: Size) -> Result:
    lists, fusion = searched.lists, task.settings.fusion("none")
    gallery, people = templates(
        task.embedded(lists.gallery, size, fusion), lists.gallery_id, task.settings.gallery_mean
    )
    probe = task.embedded(lists.probe, size, fusion)
    mated = search(probe, lists.probe_id, gallery, people, top=RANK_LIMIT)
    strangers = task.embedded(lists.distractor, size, fusion)
    outside = search(strangers, np.full(len(strangers), -1), gallery, people)
    cell = ("same", size, size)
    return replace(
        task.blank(lists.name, "open-set identification", cell, fusion),
        revision=REVISION,
        metrics=open_set_metrics(mated, outside, FPIRS, RANK_LIMIT) | _areas(mated, outside, task),
        alignment="as distributed",
        protocol_digest=lists.digest,
        list_digest=lists.content_digest,
        pixels_digest=with_draws(searched.pixels, lists.images, cell),
        counts={
            "n_gallery": len(people),
            "n_probe": len(lists.probe_id),
            "n_unmated": len(lists.distractor),
        },
        remarks=(*searched.remarks, *embedding_remarks(np.concatenate([gallery, probe]))),
        files=lists.files,
        more={"gallery_mean": task.settings.gallery_mean},
    )


def _areas(mated: Search, outside: Search, task: Task) -> dict[str, Metric]:
    n = len(mated.rank)
    body = {"AUC": metric(open_set_auc(mated, outside.best_other, RANK_LIMIT), n)}
    if task.settings.official_sweep:
        values, area = official_sweep(mated, outside.best_other, FPIRS, RANK_LIMIT)
        body |= {
            f"TPIR20@FPIR={target:g} (official sweep)": metric(value, n) for target, value in values.items()
        }
        body["AUC (official sweep)"] = metric(area, n)
    return body


def _verification(root: Path, task: Task) -> list[Result]:
    images, ledger = need(root, "verification_images", TREE), Ledger()
    pairs: list[tuple[Path, Path]] = []
    same: list[bool] = []
    for name, label in (("positive_pairs_names", True), ("negative_pairs_names", False)):
        path = need(root, f"{name}.mat", TREE)
        cells = np.asarray(load_mat(path, (name,))[name])
        if cells.ndim != 2 or cells.shape[1] != 2:
            raise DataError(f"expected two columns, found {list(cells.shape)}", file=str(path))
        sides = [
            [listed_file(images, text, path, row) for row, text in enumerate(cell_strings(cells[:, k]), 1)]
            for k in (0, 1)
        ]
        for files in sides:
            check_there(files, range(1, len(files) + 1), path)
        pairs += list(zip(*sides, strict=True))
        same += [label] * len(cells)
    ledger.unlisted(images, [path for pair in pairs for path in pair])
    people = [(a.name.split("_")[0], b.name.split("_")[0]) for a, b in pairs]
    listed = pair_list(
        pairs,
        same,
        identities=people if agrees(people, same) else None,
        name="survface-verification",
        alignment="as distributed",
    )
    native = task.settings if task.settings.sizes else replace(task.settings, sizes=NATIVE)
    return verify(replace(task, settings=native), replace(listed, files=ledger.files()))
