"""Closed-set and open-set identification from lists: TinyFace and plain gallery/probe/distractor lists."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.eval.embeddings import Bools, Ints, embedding_remarks
from lrfr.eval.low_res import Size
from lrfr.eval.pairs import SearchList, arranged_search, numbered
from lrfr.eval.protocols.layout import listed_file, need, own_rows
from lrfr.eval.protocols.pair_lists import images_root, rooted
from lrfr.eval.protocols.seen import Ledger, check_there, listed_in_mat, unaligned_remark
from lrfr.eval.results import Metric, Result, metric
from lrfr.eval.scoring.intervals import Resampling, bootstrap_mean
from lrfr.eval.scoring.metrics import F64
from lrfr.eval.scoring.search import F32, Search, average_precisions, search, tpir_at_fpir
from lrfr.eval.scoring.templates import POOLINGS, pooled
from lrfr.eval.settings import DEFAULT_SIZES, NATIVE, SizeCell, Task, size_cells, with_draws
from lrfr.pairs.sources.base import identity_name

REVISION = 3
TINYFACE_RANKS = (1, 5, 10, 20)
DISTRACTOR = -100  # TinyFace's own label of a distractor; no person has a negative number
TINYFACE_TREE = """
Testing_Set/Gallery_Match/, Testing_Set/Gallery_Distractor/, Testing_Set/Probe/
                                               (aligned crops: --data aligned_pad_.../ beside it)
Testing_Set/gallery_match_img_ID_pairs.mat     variables gallery_set, gallery_ids
Testing_Set/probe_img_ID_pairs.mat             variables probe_set, probe_ids"""
LISTS_TREE = """
gallery.tsv, probe.tsv [, distractor.tsv]     path <tab> identity; paths below the lists'
                                              folder, images/ or aligned/; commas or spaces will do;
                                              a folder of lrfr make-list gallery is one; FOLDER,root=IMAGES
                                              where the pictures are elsewhere"""


def identify(
    task: Task,
    lists: SearchList,
    *,
    ranks: Sequence[int],
    flip: str,
    sizes: Sequence[Size],
    fpirs: Sequence[float] = (),
    templates: bool = False,
) -> list[Result]:
    """Search the probes in gallery plus distractors at several sizes; a hit at rank k is any image of the
    person among the k best.

    Args:
        task: embedder, settings and model.
        lists: what to search.
        ranks: ranks to report.
        flip: the protocol's flip fusion, unless the settings name another.
        sizes: the protocol's sizes, unless the settings name others; the gallery keeps the largest in
            cross-resolution tests.
        fpirs: also report TPIR at these FPIR, with the distractors as probes without a mate.
        templates: also report rank 1 of templates: all gallery images of a person as one, and all probes.

    """
    lost: tuple[str, ...] = ()
    if task.settings.align is not None:
        # lists of benchmarks load no detector
        from lrfr.eval.pairs.aligned_faces import cut_search

        lists, lost = cut_search(lists, task)
    found = arranged_search(lists)
    lists = found.lists
    parts = _Parts(task, lists, task.settings.fusion(flip))
    unaligned = unaligned_remark([*lists.gallery, *lists.probe], lists.alignment)
    results = []
    for cell in size_cells(task.settings, sizes):
        metrics = _closed_set(parts, cell, ranks)
        if fpirs and lists.distractor:
            metrics |= _open_set(parts, cell, fpirs)
        metrics |= _of_templates(parts, cell) if templates else {}
        seen = np.concatenate([parts.get("gallery", cell[1]), parts.get("probe", cell[2])])
        made = replace(
            task.blank(lists.name, "identification", cell, parts.fusion),
            revision=REVISION,
            metrics=metrics,
            alignment=lists.alignment,
            protocol_digest=lists.digest,
            list_digest=lists.content_digest,
            pixels_digest=with_draws(found.pixels, lists.images, cell),
            counts=found.counts,
            remarks=(*found.remarks, *lost, *unaligned, *embedding_remarks(seen)),
            files=lists.files,
        )
        results.append(made)
    return results


@dataclass(frozen=True)
class _Parts:
    """Fused embeddings of gallery, probes and distractors at each size, made once."""

    task: Task
    lists: SearchList
    fusion: str
    made: dict[tuple[str, Size], F32] = field(default_factory=dict)

    def get(self, part: str, size: Size) -> F32:
        """Return [N, D]; [0, 0] for an empty list."""
        sources = getattr(self.lists, part)
        if not sources:
            return np.empty((0, 0), np.float32)
        if (part, size) not in self.made:
            self.made[part, size] = self.task.embedded(sources, size, self.fusion)
        return self.made[part, size]


def _closed_set(parts: _Parts, cell: SizeCell, ranks: Sequence[int]) -> dict[str, Metric]:
    """Search the probes among gallery and distractors."""
    _, gallery_size, probe_size = cell
    lists = parts.lists
    gallery, strangers = parts.get("gallery", gallery_size), parts.get("distractor", gallery_size)
    everyone = np.concatenate([gallery, strangers.reshape(-1, gallery.shape[1])])
    label = np.concatenate([lists.gallery_id, np.full(len(strangers), DISTRACTOR)])
    probe = parts.get("probe", probe_size)
    found = search(probe, lists.probe_id, everyone, label)
    body = rank_metrics(found, lists.probe_id, ranks, parts.task)
    precision = average_precisions(probe, lists.probe_id, everyone, label)
    return body | {"mAP": _mean(precision, lists.probe_id, parts.task)}


def _of_templates(parts: _Parts, cell: SizeCell) -> dict[str, Metric]:
    """Search each person's pooled probes among pooled galleries and distractors, by each pooling."""
    _, gallery_size, probe_size = cell
    strangers, body = parts.get("distractor", gallery_size), {}
    for how, words in POOLINGS.items():
        gallery, owner = pooled(parts.get("gallery", gallery_size), parts.lists.gallery_id, how)
        probe, person = pooled(parts.get("probe", probe_size), parts.lists.probe_id, how)
        everyone = np.concatenate([gallery, strangers.reshape(-1, gallery.shape[1])])
        found = search(probe, person, everyone, np.concatenate([owner, np.full(len(strangers), DISTRACTOR)]))
        body[f"rank-1, templates, {words}"] = _mean(np.asarray(found.rank <= 1), person, parts.task)
    return body


def _mean(values: F64 | Bools, probe_id: Ints, task: Task) -> Metric:
    """Return a mean over the probes with a bootstrap interval over their people."""
    settings = task.settings
    resampling = Resampling(len(values), probe_id, None, settings.replicates, settings.seed)
    return metric(
        float(values.mean()),
        len(values),
        bootstrap_mean(values, resampling) if settings.replicates else None,
    )


def _open_set(parts: _Parts, cell: SizeCell, fpirs: Sequence[float]) -> dict[str, Metric]:
    """Search probes and distractors in the gallery alone: the distractors are probes without a mate."""
    _, gallery_size, probe_size = cell
    lists, gallery = parts.lists, parts.get("gallery", gallery_size)
    # a distractor is searched as a probe here, and has no mate to be excused
    nobody = np.full(len(lists.distractor), DISTRACTOR)
    mated = search(parts.get("probe", probe_size), lists.probe_id, gallery, lists.gallery_id)
    unmated = search(parts.get("distractor", probe_size), nobody, gallery, lists.gallery_id)
    return open_set_metrics(mated, unmated, fpirs)


def rank_metrics(found: Search, probe_id: Ints, ranks: Sequence[int], task: Task) -> dict[str, Metric]:
    """Return rank-k accuracies with bootstrap intervals over the probes' people."""
    return {f"rank-{k}": _mean(np.asarray(found.rank <= k), probe_id, task) for k in ranks}


def open_set_metrics(
    mated: Search, unmated: Search, fpirs: Sequence[float], rank_limit: int = 1
) -> dict[str, Metric]:
    """Return TPIR at each FPIR; what the unmated probes cannot resolve is marked."""
    body = {}
    for target in fpirs:
        point = tpir_at_fpir(mated, unmated.best_other, target, rank_limit)
        name = f"TPIR@FPIR={target:g}" if rank_limit == 1 else f"TPIR{rank_limit}@FPIR={target:g}"
        body[name] = metric(
            point.tpir,
            len(mated.rank),
            resolvable=point.resolvable,
            fpir=point.fpir,
            threshold=point.threshold,
        )
    return body


def digest_of(*parts: Sequence[str]) -> str:
    """Return sha256 over lists of strings."""
    return hashlib.sha256(
        "\x00".join("\n".join(part) for part in parts).encode("utf-8", "surrogateescape")
    ).hexdigest()


def run_lists(data: Path, task: Task) -> list[Result]:
    """Evaluate plain 1:N lists."""
    found = {}
    place, given = rooted(data)
    for part in ("gallery", "probe"):
        found[part] = need(place, (f"{part}.tsv", f"dev_{part}.tsv", f"splits/dev_{part}.tsv"), LISTS_TREE)
    folder = found["gallery"].parent
    root = given or images_root(found["gallery"], task)
    optional = [path for name in ("distractor.tsv", "dev_distractor.tsv") if (path := folder / name).exists()]
    gallery, people = _own_list(found["gallery"], root)
    probe, others = _own_list(found["probe"], root)
    distractor, _ = _own_list(optional[0], root, named=False) if optional else ([], [])
    number = numbered([*people, *others])
    shown = [
        [f"{path.relative_to(root)}\t{who}" for path, who in zip(*part, strict=True)]
        for part in ((gallery, people), (probe, others), (distractor, [""] * len(distractor)))
    ]
    lists = SearchList(
        name="identify-tsv",
        gallery=gallery,
        gallery_id=number[: len(people)],
        probe=probe,
        probe_id=number[len(people) :],
        distractor=distractor,
        alignment=f"as in {root.name}",
        digest=digest_of(*shown),
    )
    return identify(task, lists, ranks=(1, 5, 10, 20), flip="none", sizes=DEFAULT_SIZES, fpirs=(0.1, 0.01))


def _own_list(path: Path, root: Path, *, named: bool = True) -> tuple[list[Path], list[str]]:
    """Return the pictures of a list and, where it must name them, their people."""
    rows = own_rows(path, ("path", "identity"), optional=0 if named else 1)
    files = [listed_file(root, row[0], path, number) for number, row in rows]
    check_there(files, [number for number, _ in rows], path, root)
    nobody = next((number for number, row in rows if named and not identity_name(row[1])), None)
    if nobody is not None:
        raise DataError(
            "this picture has no identity",
            file=str(path),
            line=nobody,
            hint="pictures of strangers belong to distractor.tsv",
        )
    return files, [row[1] if named else "" for _, row in rows]


def run_tinyface(data: Path, task: Task) -> list[Result]:
    """Evaluate TinyFace: gallery match plus distractors, flips averaged; ``data`` is the data set's folder,
    or one of aligned crops (``aligned_pad_0.1_pad_high``) beside it.
    """
    aligned = (data / "Probe").exists() and (data / "Gallery_Match").exists()
    root = data.parent if aligned else data
    root = root if (root / "Testing_Set").exists() else root / "tinyface"
    test = need(root, "Testing_Set", TINYFACE_TREE)
    folders = [
        need(data if aligned else test, part, TINYFACE_TREE)
        for part in ("Gallery_Match", "Probe", "Gallery_Distractor")
    ]
    ledger = Ledger()
    gallery, gallery_id = _of_mat(test, "gallery_match", "gallery", folders[0], ledger)
    probe, probe_id = _of_mat(test, "probe", "probe", folders[1], ledger)
    distractor = ledger.pictures(folders[2])
    lists = SearchList(
        name="tinyface",
        gallery=gallery,
        gallery_id=gallery_id,
        probe=probe,
        probe_id=probe_id,
        distractor=distractor,
        alignment=data.name if aligned else "as distributed",
        digest=digest_of(*[[path.name for path in part] for part in (gallery, probe, distractor)]),
        files=ledger.files(),
    )
    return identify(task, lists, ranks=TINYFACE_RANKS, flip="mean", sizes=NATIVE)


def _of_mat(test: Path, stem: str, variable: str, folder: Path, ledger: Ledger) -> tuple[list[Path], Ints]:
    """Return the pictures and people that ``STEM_img_ID_pairs.mat`` names."""
    path = need(test, f"{stem}_img_ID_pairs.mat", TINYFACE_TREE)
    return listed_in_mat(path, variable, folder, ledger)
