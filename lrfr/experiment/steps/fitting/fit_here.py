"""What ``lrfr.fit_camera`` and ``lrfr fit`` do: crops and clean faces are read, a recognizer is opened where
one is given, the fit runs, spec, record and page are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from lrfr.core.errors import SpecError, as_count, as_path, check_kind, shortly
from lrfr.core.files import make_folder, write_whole
from lrfr.core.lock import store_lock
from lrfr.core.progress import SILENT, Hooks
from lrfr.experiment.models import Measurable, open_recognizer
from lrfr.experiment.steps.fitting.fit_page import write_page
from lrfr.fit.camera_fit import CameraFit, FitSettings
from lrfr.fit.fit_record import FittedCamera, beside, is_as_fitted, read_reference, write_record
from lrfr.fit.infer.fitted_spec import short_form, spec_text
from lrfr.fit.judge.drift_check import Drift, check_drift
from lrfr.fit.look.clean_faces import read_faces, some_faces
from lrfr.fit.look.container_marks import container_words
from lrfr.fit.look.crop_files import Crops, lie_alike, read_crops, warnings_of
from lrfr.fit.prior_shape import given_prior
from lrfr.pairs.executors.dispatch import Runner
from lrfr.pairs.sources.table import open_source

_LEAST_CHECKED = 20
# what only a fit asks for, and how it is spelled
_FOR_FITS = {
    **{"source": "source", "target": "out", "prior": "prior", "teacher": "teacher"},
    **{"budget_minutes": "budget", "cache": "cache", "ray_address": "ray-address"},
}
DRIFTED = 7  # exit code of a check whose answer is no; too few crops are an error of data, 3


def refuse_beside_check(given: Mapping[str, object]) -> None:
    """Refuse options of a fit where a camera is only checked.

    Raises:
        SpecError: one is given.

    """
    ignored = [f"--{option}" for name, option in _FOR_FITS.items() if given[name] is not None]
    if ignored:
        raise SpecError(f"--check fits nothing: it takes no {', '.join(ignored)}")


@dataclass(frozen=True)
class FitWishes:
    """What a person may ask of a fit besides crops and faces.

    Attributes:
        prior: a spec of what is known of the camera (preset, file or text); None for the shipped one.
        teacher: a recognizer (run, checkpoint, ONNX file or callable) for distances of embeddings.
        cache: folder of simulated faces, shared by fits; None for the one beside the spec.
        seed: of everything that is drawn.
        budget_minutes: about how long one core may work.
        limit: at most so many crops.
        clean_limit: at most so many clean faces.
        executor: where simulations run, as of ``make-pairs``.
        workers: how many processes.
        ray_address: of a running Ray cluster.
        pictures: whether the page may show crops.

    """

    prior: str | None = None
    teacher: Measurable | None = None
    cache: Path | None = None
    seed: int = 0
    budget_minutes: float | None = None
    limit: int | None = None
    clean_limit: int = 1500
    executor: str = "auto"
    workers: int = 1
    ray_address: str | None = None
    pictures: bool = True


def fit_camera(
    crops: str | Path,
    source: str | Path,
    out: str | Path = "camera.yaml",
    wishes: FitWishes | None = None,
    *,
    hooks: Hooks = SILENT,
) -> FittedCamera:
    """Find the spec under which clean faces become like the crops of a camera.

    Args:
        crops: folder (or any other source) of the camera's crops: aligned as the source is, without labels.
        source: clean aligned faces of other people, as of ``make-pairs --source``.
        out: the spec; its page (``.html``, ``.md``) and a folder (``.fit``) go beside it.
        wishes: what else is asked for.
        hooks: progress, notes, and the wish to stop; what was simulated is taken up by the next call.

    Returns:
        The fitted camera: ``.spec``, ``.laws``, ``.rows``, ``.verdict``.

    Raises:
        SpecError: an argument, a source or the prior is wrong.
        DataError: too few crops or faces, or they are all equal.
        EnvironmentFault: the extra ``fit`` is not installed.
        Stopped: the hooks said so.

    """
    wishes = FitWishes() if wishes is None else wishes
    check_kind(wishes, FitWishes, "lrfr.FitWishes")
    path = check_asked(str(source), out, wishes)
    folder = wishes.cache or beside(path, "bank")
    settings = FitSettings(
        seed=as_count(wishes.seed, "seed"), prior=wishes.prior, budget_minutes=wishes.budget_minutes
    )
    embed = None if wishes.teacher is None else open_recognizer(wishes.teacher).embed
    found = read_crops(str(crops), limit=wishes.limit)
    make_folder(beside(path, "bank"))
    with store_lock(beside(path, "bank").parent):
        clean = read_faces(str(source), folder, limit=wishes.clean_limit, seed=settings.seed, hooks=hooks)
        runner = Runner(wishes.executor, wishes.workers, wishes.ray_address, hooks=hooks)
        with runner.session():
            fit = CameraFit(found, clean, folder, settings, runner, embed=embed)
            # before minutes of work: what is wrong with the crops is seldom worth a fit
            for note in fit.notes:
                hooks.note(note)
            camera = fit.run()
        write_camera(camera, path, pictures=wishes.pictures)
    return camera


def check_asked(source: str | None, out: str | Path | None, wishes: FitWishes) -> Path:
    """Return where the spec will lie, ``camera.yaml`` by default; refuse what a fit cannot begin with.

    Raises:
        SpecError: no clean faces are named or there, no such teacher, or the spec or the prior cannot be what
            they were said to be.

    """
    if source is None:
        raise SpecError("which clean faces?", hint="--source FOLDER of aligned faces of other people")
    open_source(source)
    teacher = wishes.teacher
    if isinstance(teacher, str | Path) and not as_path(teacher, "a recognizer").exists():
        raise SpecError("no such recognizer", file=str(teacher), hint="a run, a checkpoint or an ONNX file")
    if wishes.prior is not None:
        given_prior(wishes.prior)
    if not (wishes.budget_minutes is None or wishes.budget_minutes > 0):
        raise SpecError(f"expected a budget of more than 0 minutes, got {shortly(wishes.budget_minutes)}")
    path = checked_out("camera.yaml" if out is None else out)
    refuse_losing(path)
    return path


def refuse_losing(out: Path) -> None:
    """Refuse to write over what no fit has written, or what a person has changed since.

    Raises:
        SpecError: there is such a file.

    """
    hint = "name another --out, or move the file away"
    pages = [out, out.with_suffix(".html"), out.with_suffix(".md")]
    there = [path for path in pages if path.exists()]
    if there and not beside(out, "record.json").exists():
        raise SpecError("a file is there that no fit has written", file=str(there[0]), hint=hint)
    if out in there and not is_as_fitted(out):
        raise SpecError("the fitted spec was changed by hand since", file=str(out), hint=hint)


def seen_crops(crops: str | Path, source: str | Path, wishes: FitWishes) -> tuple[Crops, str]:
    """Return the crops of a fit, with what looks wrong between them and some clean faces, and in words how
    far the two lie alike; nothing is fitted or written. Raises as :func:`fit_camera`.
    """
    found = read_crops(str(crops), limit=wishes.limit)
    faces = some_faces(str(source), wishes.seed)
    notes = (*found.notes, *warnings_of(found.pictures, faces))
    return replace(found, notes=notes), lie_alike(found.pictures, faces)


def checked_out(out: str | Path) -> Path:
    """Return the path of a spec.

    Raises:
        SpecError: it does not end in .yaml or .yml.

    """
    path = as_path(out, "the fitted spec")
    if path.suffix not in {".yaml", ".yml"}:
        raise SpecError("a fitted spec is a .yaml file", file=str(path), hint="--out camera.yaml")
    return path


def write_camera(camera: FittedCamera, out: Path, *, pictures: bool = True) -> list[Path]:
    """Write spec, record and page, and return the files."""
    comments = [
        f"Found by lrfr fit: {camera.kept}; {camera.verdict}.",
        *(
            f"{law.group + ': ' if law.group else ''}{law.name}: mean {law.interval}, {law.words}"
            for law in camera.laws
        ),
        "Edit it as any spec.",
    ]
    files = [*write_record(camera, out), beside(out, "scan.yaml")]
    scan = camera.structure.spec()
    write_whole(
        files[-1], spec_text(short_form(scan), ["The structure scan alone: what a fit has to beat."]).encode()
    )
    write_whole(out, spec_text(short_form(camera.spec), comments).encode())
    return [out, *write_page(camera, out.with_suffix(".html"), pictures=pictures), *files]


def check_camera(spec: str | Path, crops: str | Path, *, seed: int = 0, limit: int | None = None) -> Drift:
    """Say whether new crops of a camera still look like those that its spec was fitted to.

    Args:
        spec: what :func:`fit_camera` wrote, with its ``.fit`` folder beside it.
        crops: new crops of the same camera.
        seed: of the permutations.
        limit: at most so many crops.

    Raises:
        DataError: there is no record beside the spec, or too few crops.

    """
    structure, reference = read_reference(checked_out(spec))
    found = read_crops(str(crops), limit=limit, least=_LEAST_CHECKED)
    notes = list(found.notes)
    if not is_as_fitted(checked_out(spec)):
        notes.append("the spec was changed since its fit: the crops are compared with those of the fit")
    if found.container != structure.container:
        now, then = (container_words(one) for one in (found.container, structure.container))
        notes.append(f"the files are stored in another way: {now} now, {then} then")
    side = structure.way.canvas_px if structure.way else 0
    if found.side_px != side:
        notes.append(f"the crops are {found.side_px or 'of several'} px now, {side or 'of several'} px then")
    return check_drift(reference, found.pictures, structure.gaze(), seed=seed, notes=notes)
