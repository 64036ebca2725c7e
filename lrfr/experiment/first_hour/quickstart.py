"""``lrfr quickstart`` from Python: look at photographs, plan the whole way to a report, go it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from lrfr.core.errors import DataError, EnvironmentFault, SpecError, as_path
from lrfr.core.files import canonical, make_folder, parsed, read_bytes, scratch, write_atomic, write_whole
from lrfr.core.lock import store_lock
from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.result_files import read_results
from lrfr.experiment.experiment import Experiment, Outcome
from lrfr.experiment.first_hour.first_plan import CROPS, SIZES_PX, FirstPlan, plan_of
from lrfr.experiment.first_hour.given_teacher import HERE, Teacher, find_teacher
from lrfr.experiment.first_hour.photo_look import TABLE, PhotoLook, look_at
from lrfr.pairs.align.detectors.table import open_detector
from lrfr.pairs.format.sealed import validated

FILE, ASKED = "quickstart.yaml", "quickstart.json"
MINUTES = 30.0
_ANEW = "bring it back as it was, or begin anew: another --out"


@dataclass(frozen=True)
class Asked:
    """What decides a quickstart: another one takes another folder."""

    photos: str
    content: str
    teacher: str
    minutes: float


@dataclass(frozen=True)
class Quickstart:
    """A first hour that is planned, or under way.

    Attributes:
        look: what the photographs are.
        plan: sides, declaration and remarks.
        experiment: the declared comparison in its folder.
        going_on: it was begun before.

    """

    look: PhotoLook
    plan: FirstPlan
    experiment: Experiment
    asked: Asked
    going_on: bool

    @property
    def folder(self) -> Path:
        """Where all of it goes."""
        return self.experiment.folder

    @property
    def pages(self) -> tuple[Path, ...]:
        """What to look at: the report, the sheet of crops, the sheet of degraded faces."""
        named = ("report.html", f"{CROPS}-sheet.png", "pictures/degraded/contact.png")
        return tuple(self.folder / name for name in named if (self.folder / name).exists())

    @property
    def told(self) -> list[str]:
        """What the photographs are, who is on which side, and what will mean nothing: sentences."""
        look, sides = self.look, self.plan.sides
        kind = "aligned crops: nothing to align" if look.aligned else "photographs: to be aligned"
        return [
            f"{look.counts}, told by {look.form}; {kind}",
            f"{len(sides.learn)} people to learn from ({sides.learn_faces} pictures)",
            f"{len(sides.held)} to measure on ({sides.held_faces} pictures): --holdout {sides.share:g}",
            *(f"note: {remark}" for remark in self.plan.remarks),
        ]

    def as_json(self) -> dict[str, object]:
        """Return what :attr:`told` tells, and what there is to see, as plain data."""
        columns, rows = self.table()
        return {
            "table": [dict(zip(columns, row, strict=True)) for row in rows],
            "look_at": [str(page) for page in self.pages],
            "pictures": len(self.look.faces),
            "people": len(self.look.people),
            "aligned": self.look.aligned,
            "holdout": self.plan.sides.share,
            "remarks": list(self.plan.remarks),
        }

    def run(self, hooks: Hooks = SILENT) -> Outcome:
        """Go the whole way; what is done is kept.

        Args:
            hooks: a note for each command line and what became of it; a wish to stop.

        Raises:
            DataError, EnvironmentFault: steps failed, see :meth:`lrfr.Experiment.run`.
            LockedError: another quickstart works in this folder.
            Stopped: the hooks asked for it; the same call goes on.

        """
        with store_lock(self.folder):
            if not self.going_on:
                text = yaml.safe_dump(
                    dict(self.plan.declared), sort_keys=False, width=110, allow_unicode=True
                )
                write_whole(self.folder / FILE, (_HEAD + text).encode())
                write_whole(self.folder / TABLE, self.look.people_table().encode("utf-8", "surrogateescape"))
                write_atomic(self.folder / ASKED, canonical(vars(self.asked)), self.folder)
            return self.experiment.run(hooks=hooks)

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return columns and rows: full-size faces against small ones, accuracy in percent."""
        rows = []
        for step in self.experiment.steps:
            if step.argv[0] != "eval":
                continue
            name = step.id.removeprefix("eval-held-out-")
            cells = _cells(self.folder / "results" / f"held-out-{name}.json")
            rows.append([name.removesuffix("-s0"), *(cells.get(size, "-") for size in SIZES_PX)])
        return ["accuracy %, 112 px against", *(f"{size} px" for size in SIZES_PX)], rows


_HEAD = """\
# Written by lrfr quickstart, an ordinary experiment file (docs/experiments.md): change it and run
#   lrfr experiment quickstart.yaml --folder .
# in this folder. What a change does not touch is kept.
"""


def quickstart(
    photos: str | Path,
    out: str | Path = "quickstart",
    *,
    teacher: str | Path = HERE,
    minutes: float | None = None,
    aligned: bool | None = None,
) -> Quickstart:
    """Plan the way from photographs to a report; nothing is written before ``run``.

    Args:
        photos: a folder with a folder for each person, a flat folder whose file names or list tell who is
            who, aligned crops, or any source (``kind:place``).
        out: folder of everything that is made; a quickstart that was begun there goes on.
        teacher: ``here`` trains one, ``none`` goes without; else a file of weights or a run of lrfr.
        minutes: about how long all of it may take (30).
        aligned: say that these are aligned crops, or are not, instead of looking.

    Raises:
        SpecError: no such source or teacher, or a folder that holds another quickstart.
        DataError: too few people, or weights that fit no backbone.
        EnvironmentFault: photographs have to be aligned, and the detector has no weights here.

    """
    folder = as_path(out, "a folder")
    found = find_teacher(str(teacher))
    look, content = look_at(str(photos), aligned)
    if Path(photos).is_dir() and Path(photos).resolve() in (folder.resolve(), *folder.resolve().parents):
        raise SpecError(
            "this would lie among the photographs", file=str(out), hint="name an --out beside them"
        )
    before = _begun(folder)
    asked = Asked(look.text, f"{content}-{look.aligned}", _teacher_word(found), minutes or MINUTES)
    if before is not None:
        asked = _same(before, asked, minutes, (str(photos), folder))
    if not look.aligned and not (folder / CROPS / "align.json").exists():
        _check_detector()
    plan = plan_of(look, found, asked.minutes)
    if before is None:
        make_folder(folder.absolute().parent)
        return Quickstart(look, plan, _experiment(plan.declared, folder), asked, going_on=False)
    return Quickstart(look, plan, Experiment.load(folder / FILE, folder), asked, going_on=True)


def _experiment(declared: Mapping[str, object], folder: Path) -> Experiment:
    with scratch("quickstart") as place:
        path = place / FILE
        path.write_text(yaml.safe_dump(dict(declared), sort_keys=False), "utf-8")
        return Experiment.load(path, folder)


def _teacher_word(teacher: Teacher) -> str:
    return f"{teacher.kind} {teacher.digest}".strip()


def _check_detector() -> None:
    try:
        open_detector("mtcnn")
    except EnvironmentFault as fault:
        raise EnvironmentFault(
            "photographs have to be aligned, and the detector has no weights here",
            hint=f"{fault.hint}, 2 MB by pip, and then the same command again; aligned crops: --aligned",
        ) from None


def _begun(folder: Path) -> Asked | None:
    """Return what was asked for when a quickstart was begun in a folder.

    Raises:
        SpecError: something else lies there.

    """
    path = folder / ASKED
    if path.exists():
        try:
            found = validated(Asked, parsed(read_bytes(path)), path)
        except (ValueError, DataError):
            raise DataError("not what lrfr quickstart wrote", file=str(path), hint=_ANEW) from None
        if found.minutes > 0:
            return found
        raise DataError(f"{found.minutes} minutes", file=str(path), hint=_ANEW)
    if folder.exists() and not (folder.is_dir() and _is_beginning(folder)):
        raise SpecError("something else lies here", file=str(folder), hint="choose another --out")
    return None


def _is_beginning(folder: Path) -> bool:
    """Return whether a folder holds nothing but what a quickstart writes before it notes what was asked for:
    it was killed that early.
    """
    being_written = tuple(f"{name}." for name in (FILE, TABLE, ASKED))
    names = {item.name for item in folder.iterdir() if not item.name.startswith(being_written)} - {".lock"}
    ours = FILE in names and read_bytes(folder / FILE).startswith(_HEAD.encode())
    return not names or (ours and names <= {FILE, TABLE})


def _same(before: Asked, asked: Asked, minutes: float | None, place: tuple[str, Path]) -> Asked:
    """Return what was asked for before, if it is the same."""
    wished = (
        asked if minutes is not None else Asked(asked.photos, asked.content, asked.teacher, before.minutes)
    )
    names = {"photos": "photographs", "content": "pictures in it", "teacher": "teacher", "minutes": "minutes"}
    other = [text for name, text in names.items() if getattr(before, name) != getattr(wished, name)]
    if not other:
        return before
    photos, folder = place
    again = shlex.join(["lrfr", "quickstart", photos, "--out", f"{folder}-2"])
    raise SpecError(
        f"a quickstart was begun here with other {' and '.join(other)}",
        file=str(folder),
        hint=f"go on with what was asked for then, or begin anew: {again}",
    )


def _cells(path: Path) -> dict[int, str]:
    """Return the accuracies of a result file, by the side of the small image in px."""
    if not path.exists():
        return {}
    results = [one for one in read_results([path]) if one.sizes and "accuracy" in one.metrics]
    found: dict[int, str] = {}
    for small in SIZES_PX:
        kind, sizes = ("same" if small == SIZES_PX[0] else "cross"), (SIZES_PX[0], small)
        here = [one.metrics["accuracy"] for one in results if (one.matching, one.sizes) == (kind, sizes)]
        found |= {small: here[0].percent()} if here else {}
    return found
