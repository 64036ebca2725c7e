"""Writing a base: HR once, with its row table and manifest; and the report on what was refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lrfr.core.errors import REASONS, DataError
from lrfr.core.files import canonical, check_space, make_folder, write_atomic
from lrfr.core.files.inside import refuse_link, remove
from lrfr.core.image import REMARKS
from lrfr.pairs.align.aligner import FLAG_TEXTS
from lrfr.pairs.build.ingest import Memory, leave_out
from lrfr.pairs.build.look.distinct import distinct
from lrfr.pairs.build.look.photo_faces import PhotoFaces, find_faces
from lrfr.pairs.build.look.scan_table import Scanned, ScanTable
from lrfr.pairs.build.plan import BasePlan, make_plan
from lrfr.pairs.build.scan import Ingest, scan
from lrfr.pairs.build.tasks import Draw, HrTask
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.format.manifests import BaseManifest
from lrfr.pairs.format.rows import write_rows
from lrfr.pairs.format.shard import ShardPlace, committed, is_whole, listed
from lrfr.pairs.format.store_files import StoreFiles
from lrfr.pairs.format.view_manifest import Account, SourceReport
from lrfr.pairs.sources.base import SKIPS, FaceList, Listing

_TEXTS = REMARKS | FLAG_TEXTS
# a face that a photograph was seen to hold, where it may hold several
FOUND = "found face"
# a 112 px face at JPEG quality 95, with its part of the pages
HR_BYTES = 6200


@dataclass(frozen=True)
class Seen:
    """Every face of a source and what one look at it told.

    Attributes:
        faces: all of them, of each key one that can be used at most.
        found: what the look told, one entry a face.
        listing: what else the source saw.
        repeated: faces that were listed again, as their first lines have them.
        again, note: see :class:`~lrfr.pairs.build.scan.Looked`.
        photos: what a search for faces told, where there was one.

    """

    faces: FaceList
    found: ScanTable
    listing: Listing = field(default_factory=lambda: Listing(FaceList()))
    repeated: FaceList = field(default_factory=FaceList)
    again: int = 0
    note: str = ""
    photos: PhotoFaces | None = None

    def ingest(self, ingest: Ingest) -> Ingest:
        """Return an ingest with the landmarks that were found, where they were looked for."""
        if self.photos is None:
            return ingest
        return replace(ingest, landmarks={row.key: row.points for row in self.photos.table}, search=None)

    def report(self, source: Mapping[str, object]) -> SourceReport:
        """Return where the faces came from, with the counts of refused and remarked ones."""
        others = self.listing.others
        odd = [item for _, item in self.found.odd()]
        refused = Counter(item.code for item in odd if item.code)
        refused.update(other.why for other in others if other.refused)
        skipped = Counter(other.why for other in others if not other.refused)
        skipped.update(self.listing.left_out)
        skipped.update({"duplicate": len(self.repeated)} if self.repeated else {})
        flagged = Counter(flag for item in odd for flag in item.flags)
        usable, unit = int(self.found.usable.sum()), self.listing.unit
        ways, used = Counter(self.listing.seen), Counter(self.listing.used)
        if self.photos and self.photos.several:
            # a photograph may be several rows: it is walked, as a folder is, and its faces are counted
            ways[FOUND] = self.photos.held
            used[unit] += self.photos.photos
            unit = FOUND
        used[unit] += usable
        account = Account(dict(ways), dict(used), dict(refused), dict(skipped), unit)
        seen = len(self.faces) + sum(other.refused for other in others)
        return SourceReport(source, dict(refused), dict(flagged), seen, account)

    def quarantine(self) -> bytes:
        """Return one sorted JSON line per refused or remarked face, and for whatever else was passed over."""
        lines = []
        for row, item in self.found.odd():
            face = self.faces[row]
            if item.code:
                lines.append(_refusal(face.key, item.code, item.detail))
            lines += [
                canonical({"key": face.key, "flag": flag, "remark": _TEXTS[flag]}) for flag in item.flags
            ]
        for other in self.listing.others:
            if other.refused:
                lines.append(_refusal(other.name, other.why, other.detail))
            else:
                told = {"skipped": other.why, "reason": SKIPS[other.why], "unit": other.unit}
                lines.append(canonical({"key": other.name, **told}))
        why = {"skipped": "duplicate", "reason": SKIPS["duplicate"]}
        lines += [canonical({"key": face.key, **why}) for face in self.repeated]
        return b"".join(sorted(lines))

    def nothing(self, quarantine: Path | None = None) -> DataError:
        """Return the error that says why no face can be used: the commonest reason, with three examples;
        ``quarantine`` is the file that names all, where one is written.
        """
        ends = [(face.key, item.code, item.detail) for face, item in zip(self.faces, self.found, strict=True)]
        ends += [(other.name, other.why, other.detail) for other in self.listing.others]
        reasons = Counter(why for _, why, _ in ends if why)
        if not reasons:
            return DataError("no usable face in the source", hint="it is empty")
        why, count = max(reasons.items(), key=lambda item: (item[0] in REASONS, item[1], item[0]))
        some = sorted((name, detail) for name, end, detail in ends if end == why)[:3]
        told = "; ".join(f"{shown(name)} ({detail})" if detail else shown(name) for name, detail in some)
        meaning = REASONS.get(why) or SKIPS[why]
        report = [f"all of them stand in {quarantine}"] if quarantine else []
        return DataError(
            f"no usable face in the source: {count} of {sum(reasons.values())} things: {why}, {meaning}; "
            f"such as {told}",
            hint="; ".join([*self.listing.notes, *report]) or None,
        )


def _refusal(key: str, code: str, detail: str) -> bytes:
    return canonical({"key": key, "code": code, "reason": REASONS[code], "detail": detail})


def shown(name: str) -> str:
    """Return a name as a message can show it: one line, not too long."""
    text = name.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
    text = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
    return text if len(text) <= 80 else f"{text[:60]}...{text[-15:]}"


@dataclass(frozen=True)
class WrittenBase:
    """A base that is there and how many crops were written for it."""

    manifest: BaseManifest
    written: int


class SourceChanged(Exception):
    """The bytes of some faces moved under us; ``keys`` names them."""

    def __init__(self, keys: list[str]) -> None:
        super().__init__(keys)
        self.keys = keys


def look(
    store: StoreFiles,
    ingest: Ingest,
    runner: Runner,
    changed: frozenset[str] = frozenset(),
    draws: Sequence[Draw] | None = None,
) -> Seen:
    """List a source and look at every face once.

    Args:
        store: where the scan cache lies.
        ingest: the source and how it is taken in.
        runner: how to scan.
        changed: keys whose bytes changed after they were scanned: refused.
        draws: variants to make of what is read; None where no shard is written next.

    """
    memory = Memory.of(store, ingest.allow_forgotten)
    # before the scan, so that its cache and the quarantine do not learn the names again
    listing = memory.without(ingest.listing())
    faces, repeated = distinct(listing.faces)
    looked = scan(ingest, faces, store.root, runner, memory.has_content, draws=draws)
    found = looked.found
    if memory:
        stays = np.fromiter((not memory.has_content(item.sha256) for item in found), bool, len(found))
        if not stays.all():
            faces, found = faces.take(np.flatnonzero(stays)), found.only(stays)
            listing = leave_out(listing, "forgotten", int((~stays).sum()))
    if listing.left_out.get("forgotten"):
        runner.hooks.note(memory.told(listing.left_out["forgotten"]))
    for row, face in enumerate(faces) if changed else ():
        if face.key in changed:
            found.put(row, Scanned(code="E_CHANGED"))
    photos = None
    if ingest.search is not None:
        photos = find_faces(ingest, faces, found, store.root, runner)
        photos = photos.without(memory.has_key) if memory else photos
        if photos.forgotten:
            listing = leave_out(listing, "forgotten", photos.forgotten)
        faces, found = photos.faces, photos.found
    if ingest.kept and not listing.left_out.get("forgotten"):
        ingest.kept.save()
    return Seen(faces, found, listing, repeated, looked.again, looked.note, photos)


def plan_base(seen: Seen, ingest: Ingest, quarantine: Path | None = None) -> BasePlan:
    """Plan a base of all faces that were not refused.

    Raises:
        DataError: nothing usable; says why, with examples, and that ``quarantine`` names all.

    """
    if not seen.found.usable.any():
        raise seen.nothing(quarantine)
    return make_plan(seen.faces, seen.found, ingest.options, seen.ingest(ingest).landmarks)


def write_base(store: StoreFiles, ingest: Ingest, plan: BasePlan, runner: Runner) -> WrittenBase:
    """Write (or find) the base of a plan.

    Raises:
        SourceChanged: bytes are no longer those that were planned; what was written of them is removed.

    """
    folder = store.base(plan.base_id)
    if (folder / "manifest.json").exists():
        found = store.base_manifest(plan.base_id)
        if is_whole(folder, found.shards):
            return WrittenBase(found, 0)
    make_folder(folder)
    refuse_link(folder)
    # half, so that small crops are not refused: a disk that fills up later is an error of its own
    check_space(folder, len(plan.faces) * HR_BYTES // 2)
    files = write_rows(folder, plan.rows, store.tmp)
    images = write_hr_shards(store, ingest, plan, runner)
    manifest = base_manifest(plan, store, files)
    write_atomic(folder / "manifest.json", manifest.seal(), store.tmp)
    return WrittenBase(store.base_manifest(plan.base_id), images)


def write_hr_shards(store: StoreFiles, ingest: Ingest, plan: BasePlan, runner: Runner) -> int:
    """Write the shards that are not committed yet; return how many crops they hold."""
    missing = [place for place in hr_places(store, plan) if not committed(place)]
    tasks = [hr_task(store, ingest, plan, place, runner.scratch) for place in missing]
    images = sum(place.stop - place.start for place in missing)
    total = len(plan.faces)
    reports = runner.run(tasks, images * ingest.source.cost_ms / 1e3, "HR", total - images, total)
    changed = [plan.faces[row].key for report in reports for row in report.changed]
    if changed:
        # without the changed faces the rows are others, and so is the id: no shard of this plan can be used
        remove(store.base(plan.base_id))
        raise SourceChanged(changed)
    return images


def hr_places(store: StoreFiles, plan: BasePlan) -> list[ShardPlace]:
    """Return where every HR shard of a plan goes."""
    folder = store.base(plan.base_id)
    return [
        ShardPlace(folder, name, plan.base_id, start, stop, plan.block_rows)
        for name, start, stop in plan.shards()
    ]


def hr_task(
    store: StoreFiles, ingest: Ingest, plan: BasePlan, place: ShardPlace, scratch: Path | None
) -> HrTask:
    """Return the task that writes one HR shard."""
    rows = place.rows
    marks = ingest.landmarks_of(plan.faces[rows.start : rows.stop])
    places = tuple(plan.faces.places(rows))
    digests = plan.rows.digests[rows.start : rows.stop].tobytes()
    spool = plan.spool and plan.spool.take(slice(rows.start, rows.stop))
    return HrTask(
        place, store.tmp, scratch, ingest.source, places, digests, plan.options.prepare, marks, spool
    )


def base_manifest(plan: BasePlan, store: StoreFiles, files: Mapping[str, str]) -> BaseManifest:
    """Return the manifest of a base whose shards are all committed."""
    return BaseManifest(
        id=plan.base_id,
        content=plan.content_id,
        rows=len(plan.faces),
        identities=len(plan.rows.label_names),
        attributes=plan.rows.attribute_names,
        block_rows=plan.block_rows,
        permutation_seed=plan.options.seed,
        crop=plan.crop,
        codec="jpeg",
        files=dict(files),
        shards=listed(hr_places(store, plan)),
    )
