"""Closed-set and open-set identification from lists: TinyFace and plain gallery/probe/distractor lists."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import DataError
from lrfr.core.files import digest_of as json_digest
from lrfr.eval.embeddings import Bools, Ints, Source, pixels_digest
from lrfr.eval.low_res import Size
from lrfr.eval.pairs import numbered
from lrfr.eval.protocols.layout import cell_strings, inside, load_mat, need, rows_of
from lrfr.eval.protocols.pair_lists import images_root
from lrfr.eval.results import Metric, Result, metric
from lrfr.eval.scoring.intervals import Resampling, bootstrap_mean
from lrfr.eval.scoring.search import F32, Search, search, tpir_at_fpir
from lrfr.eval.settings import DEFAULT_SIZES, NATIVE, SizeCell, Task, size_cells, with_draws

REVISION = 1
TINYFACE_RANKS = (1, 5, 10, 20)
DISTRACTOR = -100  # TinyFace's own label of a distractor; no person has a negative number
TINYFACE_TREE = """
Testing_Set/Gallery_Match/, Testing_Set/Gallery_Distractor/, Testing_Set/Probe/
Testing_Set/gallery_match_img_ID_pairs.mat     variables gallery_set, gallery_ids
Testing_Set/probe_img_ID_pairs.mat             variables probe_set, probe_ids"""
LISTS_TREE = """
gallery.tsv, probe.tsv [, distractor.tsv]     path <tab> identity; paths below the lists'
                                              folder, images/ or aligned/"""


@dataclass(frozen=True)
class SearchList:
    """Images of a 1:N test: gallery and probes with their people, and distractors that match nobody."""

    name: str
    gallery: Sequence[Source]
    gallery_id: Ints
    probe: Sequence[Source]
    probe_id: Ints
    distractor: Sequence[Source] = ()
    alignment: str = "as distributed"
    digest: str = ""

    @property
    def content_digest(self) -> str:
        """Return sha256 over who is in the lists: names of files play no part."""
        people = numbered([*self.gallery_id.tolist(), *self.probe_id.tolist()])
        return json_digest([len(self.gallery_id), people.tolist(), len(self.distractor)])

    @property
    def images(self) -> list[Source]:
        """Return every image: gallery, probes, distractors."""
        return [*self.gallery, *self.probe, *self.distractor]

    def pixels_digest(self) -> str:
        """Return sha256 over the images; the order of distractors decides nothing."""
        strangers = sorted(pixels_digest([source]) for source in self.distractor)
        return json_digest([pixels_digest(self.gallery), pixels_digest(self.probe), strangers])


def identify(
    task: Task,
    lists: SearchList,
    *,
    ranks: Sequence[int],
    flip: str,
    sizes: Sequence[Size],
    fpirs: Sequence[float] = (),
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

    """
    known = np.isin(lists.probe_id, lists.gallery_id)
    if not known.all():
        raise DataError(
            f"{lists.name}: {int((~known).sum())} of {len(known)} probes have no image of their person in "
            f"the gallery"
        )
    parts = _Parts(task, lists, task.settings.fusion(flip))
    results, pixels = [], lists.pixels_digest()
    for cell in size_cells(task.settings, sizes):
        metrics = _closed_set(parts, cell, ranks)
        if fpirs and lists.distractor:
            metrics |= _open_set(parts, cell, fpirs)
        made = replace(
            task.blank(lists.name, "identification", cell, parts.fusion),
            revision=REVISION,
            metrics=metrics,
            alignment=lists.alignment,
            protocol_digest=lists.digest,
            list_digest=lists.content_digest,
            pixels_digest=with_draws(pixels, lists.images, cell),
            counts={
                "n_gallery": len(lists.gallery),
                "n_probe": len(lists.probe),
                "n_distractor": len(lists.distractor),
            },
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
    found = search(parts.get("probe", probe_size), lists.probe_id, everyone, label)
    return rank_metrics(found, lists.probe_id, ranks, parts.task)


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
    resampling = Resampling(len(found.rank), probe_id, None, task.settings.replicates, task.settings.seed)
    body = {}
    for k in ranks:
        hit: Bools = np.asarray(found.rank <= k)
        body[f"rank-{k}"] = metric(
            float(hit.mean()), len(hit), bootstrap_mean(hit, resampling) if task.settings.replicates else None
        )
    return body


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
    for part in ("gallery", "probe"):
        found[part] = need(data, (f"{part}.tsv", f"dev_{part}.tsv", f"splits/dev_{part}.tsv"), LISTS_TREE)
    root, folder = images_root(found["gallery"]), found["gallery"].parent
    optional = [path for name in ("distractor.tsv", "dev_distractor.tsv") if (path := folder / name).exists()]
    rows = {part: _fields(path, 2) for part, path in found.items()}
    rows["distractor"] = _fields(optional[0], 1) if optional else []
    people = {
        name: number
        for number, name in enumerate(dict.fromkeys(row[1] for row in rows["gallery"] + rows["probe"]))
    }
    lists = SearchList(
        name="identify-tsv",
        gallery=[inside(root, row[0]) for row in rows["gallery"]],
        gallery_id=np.array([people[row[1]] for row in rows["gallery"]], np.int64),
        probe=[inside(root, row[0]) for row in rows["probe"]],
        probe_id=np.array([people[row[1]] for row in rows["probe"]], np.int64),
        distractor=[inside(root, row[0]) for row in rows["distractor"]],
        alignment=f"as in {root.name}",
        digest=digest_of(*[["\t".join(row) for row in part] for part in rows.values()]),
    )
    return identify(task, lists, ranks=(1, 5, 10, 20), flip="none", sizes=DEFAULT_SIZES, fpirs=(0.1, 0.01))


def _fields(path: Path, columns: int) -> list[list[str]]:
    return [fields for _, fields in rows_of(path, columns, "\t")]


def run_tinyface(data: Path, task: Task) -> list[Result]:
    """Evaluate TinyFace: gallery match plus distractors, images as they are, flips averaged."""
    root = data if (data / "Testing_Set").exists() else data / "tinyface"
    test = need(root, "Testing_Set", TINYFACE_TREE)
    gallery_mat, probe_mat = (
        need(test, f"{part}_img_ID_pairs.mat", TINYFACE_TREE) for part in ("gallery_match", "probe")
    )
    gallery = load_mat(gallery_mat, ("gallery_set", "gallery_ids"))
    probe = load_mat(probe_mat, ("probe_set", "probe_ids"))
    names, probes = cell_strings(gallery["gallery_set"]), cell_strings(probe["probe_set"])
    folders = [need(test, part, TINYFACE_TREE) for part in ("Gallery_Match", "Probe", "Gallery_Distractor")]
    distractors = sorted(path for path in folders[2].iterdir() if path.is_file())
    lists = SearchList(
        name="tinyface",
        gallery=[inside(folders[0], name) for name in names],
        gallery_id=_ids(gallery["gallery_ids"], names, gallery_mat),
        probe=[inside(folders[1], name) for name in probes],
        probe_id=_ids(probe["probe_ids"], probes, probe_mat),
        distractor=distractors,
        digest=digest_of(names, probes, [path.name for path in distractors]),
    )
    return identify(task, lists, ranks=TINYFACE_RANKS, flip="mean", sizes=NATIVE)


def _ids(values: object, names: list[str], path: Path) -> Ints:
    ids = np.asarray(values, np.int64).reshape(-1)
    if len(ids) != len(names):
        raise DataError(f"{len(names)} images but {len(ids)} identities", file=str(path))
    return ids
