"""A folder of photographs becomes a folder of crops, with a table of landmarks, a report and a sheet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from lrfr.core.files import canonical, make_folder, sha256_hex, sweep, write_atomic
from lrfr.core.lock import store_lock
from lrfr.pairs.align.align_state import TABLE, AlignState, Settings
from lrfr.pairs.align.aligner import REVISION, AlignRules
from lrfr.pairs.align.checks import check_landmarks
from lrfr.pairs.align.detectors.table import open_detector
from lrfr.pairs.align.fit_sheet import fit_sheet
from lrfr.pairs.align.landmark_table import LandmarkRow, is_own_table, read_table, table_bytes
from lrfr.pairs.align.photo_list import Photo, PhotoList, list_photos, name_fault, own_names, taken_twice
from lrfr.pairs.align.photo_task import TMP, DetectorChoice, PhotoRow, PhotoTask, reason_of
from lrfr.pairs.executors.dispatch import Runner

REPORT = "align.json"
PHOTOS_A_TASK = 8
# a rough estimate, to choose an executor by
SECONDS_A_PHOTO = 0.1
Given = dict[str, list[LandmarkRow]]


@dataclass(frozen=True)
class AlignOptions:
    """What is to be aligned, and how.

    Attributes:
        photos: a folder, or any source as ``kind:place``.
        out: folder of the crops, made when it is not there.
        rules: how crops are cut.
        detector: what finds the faces.
        landmarks: a file of landmarks to cut by instead; no detector is needed then.
        sheet: where the contact sheet goes; None draws none.

    """

    photos: str
    out: Path
    rules: AlignRules = field(default_factory=AlignRules)
    detector: DetectorChoice = field(default_factory=DetectorChoice)
    landmarks: Path | None = None
    sheet: Path | None = None


@dataclass(frozen=True)
class AlignReport:
    """What became of everything that was seen: ``seen`` is the sum of the four counts that follow it.

    Attributes:
        seen: files and entries that were seen.
        used: photographs with at least one crop.
        missed: photographs without a face, of which no crop was taken.
        refused: photographs that cannot be used, by code.
        passed_over: what is no photograph, by reason.
        crops: crops of the photographs used.
        remarks: crops with something unusual, by code.
        made: photographs that this run looked at; the others were done before.
        removed: crops of photographs that are gone, or of landmarks that are.
        unmatched: keys of the landmark file that no photograph has.
        rows: one a photograph, by key.
        unusual: (name, why) of everything that gave no crop.

    """

    seen: int
    used: int
    missed: int
    refused: dict[str, int]
    passed_over: dict[str, int]
    crops: int
    remarks: dict[str, int]
    made: int
    removed: int
    unmatched: int
    rows: tuple[PhotoRow, ...]
    unusual: tuple[tuple[str, str], ...]

    def counts(self) -> dict[str, object]:
        """Return the counts as JSON: the same for every run over the same photographs."""
        names = ("seen", "used", "missed", "refused", "passed_over", "crops", "remarks", "unmatched")
        return {name: getattr(self, name) for name in names}


def align_folder(options: AlignOptions, runner: Runner = Runner()) -> AlignReport:  # noqa: B008 - frozen
    """Align all photographs; what an earlier run did is kept.

    Args:
        options: what and how.
        runner: where the work runs, and who hears of it.

    Raises:
        SpecError: nothing to align, an output made with other settings, or a malformed landmark file.
        EnvironmentFault: the detector has no weights here, or the output cannot be written.
        LockedError: another process writes the same output.
        Stopped: a stop was asked for; the same call goes on from there.

    """
    listed = list_photos(options.photos, options.out)
    given = _given(options, listed) if options.landmarks else None
    settings = _settings(options)
    make_folder(options.out)
    with store_lock(options.out):
        make_folder(options.out / TMP)
        sweep(options.out / TMP)
        state = _state(options, listed)
        settings = state.check(settings, given is not None)
        todo, misnamed = _sort(listed, state, given)
        with state.start(settings) as journal:
            removed = state.add(misnamed, journal)
            tasks = [replace(task, taken=state.owned) for task in _tasks(options, listed, todo, given)]
            removed += _align(tasks, len(listed.photos), (state, journal), runner)
        removed += state.keep_only(photo.key for photo in listed.photos)
        report = _report(listed, state, given, (len(todo), removed))
        _write(options, settings, state, report)
        (options.out / TMP).rmdir()
    if options.sheet is not None:
        sheet = fit_sheet(listed, options.out, report.rows)
        make_folder(options.sheet.absolute().parent)
        write_atomic(options.sheet, sheet, options.sheet.absolute().parent)
    return report


def plan_alignment(options: AlignOptions) -> tuple[int, int, int]:
    """Return how many photographs there are, how many are to be done, and how much else lies there.

    Nothing is written.

    Raises:
        SpecError: as :func:`align_folder`.
        EnvironmentFault: the detector has no weights here.

    """
    listed = list_photos(options.photos, options.out)
    given = _given(options, listed) if options.landmarks else None
    state = _state(options, listed)
    state.check(_settings(options), given is not None)
    todo, _ = _sort(listed, state, given)
    return len(listed.photos), len(todo), len(listed.passed_over)


def _state(options: AlignOptions, listed: PhotoList) -> AlignState:
    state = AlignState(options.out)
    state.owned = own_names(photo.key for photo in listed.photos)
    return state


def _settings(options: AlignOptions) -> Settings:
    rules = options.rules
    named = "given"
    if options.landmarks is None:
        found = open_detector(options.detector.name, options.detector.weights)
        named = f"{found.name} {REVISION}.{found.revision} {found.weights_sha256}".strip()
    return Settings(rules.size_px, rules.face, rules.on_miss, named)


def _given(options: AlignOptions, listed: PhotoList) -> Given:
    """Read a person's landmarks and look at some of them."""
    assert options.landmarks is not None
    table = read_table(options.landmarks)
    best = {key: rows[0].points for key, rows in table.items()}
    keys = [photo.key for photo in listed.photos]
    check_landmarks(keys, best, str(options.landmarks), is_own_table(options.landmarks))
    return table


def _sort(listed: PhotoList, state: AlignState, given: Given | None) -> tuple[list[Photo], list[PhotoRow]]:
    """Return the photographs that are to be done, and rows of those refused for their names."""
    todo, misnamed = [], []
    twice = taken_twice(photo.key for photo in listed.photos)
    for photo in listed.photos:
        fault = name_fault(photo.key)
        if photo.key in twice:
            fault = "another photograph's crop has the same name"
        row = state.rows.get(photo.key)
        if fault:
            misnamed.append(PhotoRow(photo.key, photo.stamp, (), False, "E_NAME", fault))
        elif row is None or not photo.stamp or not _stands(row, photo, state, given):
            todo.append(photo)
    return todo, misnamed


def _stands(row: PhotoRow, photo: Photo, state: AlignState, given: Given | None) -> bool:
    if row.stamp != photo.stamp or not state.holds(row) or row.code == "E_NAME":
        return False
    if given is None:
        # what a person's landmarks refused is looked at by the detector again
        return not (row.given and row.code)
    wanted = tuple(tuple(round(value, 2) for value in line.points) for line in given.get(photo.key, ()))
    return not row.code and bool(wanted) and tuple(crop.points for crop in row.crops) == wanted


def _tasks(
    options: AlignOptions, listed: PhotoList, todo: Sequence[Photo], given: Given | None
) -> list[PhotoTask]:
    tasks = []
    for first in range(0, len(todo), PHOTOS_A_TASK):
        photos = tuple(todo[first : first + PHOTOS_A_TASK])
        marks = None if given is None else {item.key: tuple(given.get(item.key, ())) for item in photos}
        tasks.append(PhotoTask(listed.source, options.out, photos, options.rules, options.detector, marks))
    return tasks


def _align(tasks: Sequence[PhotoTask], total: int, notes: tuple[AlignState, TextIO], runner: Runner) -> int:
    """Do what is to be done, and note each task's rows as they come; return how many crops went away."""
    state, journal = notes
    todo = sum(len(task.photos) for task in tasks)
    done, removed = total - todo, 0
    if tasks:
        with runner.session():
            for _, report in runner.place(todo * SECONDS_A_PHOTO).run(tasks, runner.hooks.stopping):
                removed += state.add(report.rows, journal)
                done += report.images
                runner.hooks.progress(done, total)
    return removed


def _report(listed: PhotoList, state: AlignState, given: Given | None, work: tuple[int, int]) -> AlignReport:
    """Count everything; ``work`` is what this run made and removed."""
    rows = [state.rows[photo.key] for photo in listed.photos]
    crops = [crop for row in rows for crop in row.crops]
    refused = Counter(row.code for row in rows if row.code)
    passed = Counter(why for _, why in listed.passed_over)
    missed = [row.key for row in rows if not row.crops and not row.code]
    keys = {row.key for row in rows}
    unusual = [(row.key, f"{row.code}: {reason_of(row)}") for row in rows if row.code]
    unusual += [(key, "no face was found") for key in missed] + list(listed.passed_over)
    return AlignReport(
        seen=len(rows) + len(listed.passed_over),
        used=sum(bool(row.crops) for row in rows),
        missed=len(missed),
        refused=dict(sorted(refused.items())),
        passed_over=dict(sorted(passed.items())),
        crops=len(crops),
        remarks=dict(sorted(Counter(remark.code for crop in crops for remark in crop.remarks).items())),
        made=work[0],
        removed=work[1],
        unmatched=sum(key not in keys for key in given) if given else 0,
        rows=tuple(rows),
        unusual=tuple(sorted(unusual)),
    )


def _write(options: AlignOptions, settings: Settings, state: AlignState, report: AlignReport) -> None:
    """Write the table and the report; the state then names the table it belongs to."""
    table = table_bytes(
        LandmarkRow(row.key, crop.points, crop.score, crop.remarks)
        for row in report.rows
        for crop in row.crops
    )
    told = {
        "settings": settings.told(),
        "counts": report.counts(),
        "no_crop": [{"name": name, "why": why} for name, why in report.unusual],
    }
    write_atomic(options.out / TABLE, table, options.out / TMP)
    write_atomic(options.out / REPORT, canonical(told), options.out / TMP)
    state.save(sha256_hex(table))
