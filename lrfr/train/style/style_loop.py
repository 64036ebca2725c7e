"""The training loop of the style generator: exactly resumable, with pictures in its journal and calibrated
weights at its end.
"""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lrfr import __version__
from lrfr.core.errors import DataError, NumericFault, SpecError
from lrfr.core.files import canonical, make_folder, write_atomic
from lrfr.core.image import encode_png
from lrfr.core.lock import store_lock
from lrfr.core.progress import StopFlag, stop_on_signal
from lrfr.degrade.style.generator_card import Card
from lrfr.degrade.style.magnitude_sheet import magnitude_sheet, tile
from lrfr.degrade.style.weight_files import load_weights, pack, save_weights, unpack
from lrfr.train import checkpoint
from lrfr.train.backbones.embedder import to_input
from lrfr.train.engine import determinism
from lrfr.train.engine.journal import Journal
from lrfr.train.methods.base import Losses
from lrfr.train.methods.draws import rows
from lrfr.train.style.identity_cost import Acceptance, accept, measure_curve
from lrfr.train.style.image_sets import ImageSet
from lrfr.train.style.recognizer import Recognizer
from lrfr.train.style.settings import CfsmSettings
from lrfr.train.style.trainer import Trainer

WEIGHTS = "style.safetensors"
CURVE_FACES = 64
GRID_MAGNITUDES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0)
# these say how a run is watched, not what it computes
_COSMETIC = ("save_every", "grid_every", "threads")

Advance = Callable[..., None]


@dataclass(frozen=True)
class CfsmData:
    """What a run learns from."""

    source: ImageSet
    target: ImageSet
    recognizer: Recognizer


@dataclass(frozen=True)
class CfsmResult:
    """What a call of :func:`fit_cfsm` did.

    Attributes:
        steps: steps of the whole run so far.
        started_at: step at which this call began.
        weights: the calibrated weights, None while the run is unfinished.
        acceptance: its figures on faces that neither steps nor curve have seen.

    """

    steps: int
    started_at: int
    weights: Path | None = None
    acceptance: Acceptance | None = None


def fit_cfsm(
    settings: CfsmSettings,
    data: CfsmData,
    run_dir: Path,
    *,
    int8: bool = False,
    on_progress: Advance = lambda done, total, **info: None,
    on_note: Callable[[str], None] = lambda text: None,
    max_steps: int | None = None,
) -> CfsmResult:
    """Train a style generator in ``run_dir``, from its last good checkpoint where there is one.

    Faces and styles of a step are functions of the seed and the step, and a checkpoint holds both networks
    and both optimizers, so that a run that is killed and started again ends with the same bytes (same machine
    kind, threads, versions).

    Args:
        settings: the run's settings.
        data: source, target and identity network; the last 128 source faces are held back for curve and
            acceptance.
        run_dir: folder of the run; this call owns it.
        int8: keep the weights as 8-bit integers (a quarter of the size); curve and figures are those of the
            rounded weights.
        on_progress: ``on_progress(done_steps, total_steps, **losses)``.
        on_note: told when a damaged checkpoint is passed over.
        max_steps: stop at this step.

    Raises:
        SpecError: the folder holds a run with other settings or data.
        DataError: too few source faces.
        LockedError: another process is training there.
        NumericFault: a loss is not finite; the last good checkpoint stays.

    """
    if data.source.length < 3 * CURVE_FACES:
        raise DataError(
            f"{data.source.length} source faces are too few", hint=f"{3 * CURVE_FACES} or more are needed"
        )
    make_folder(run_dir)
    with store_lock(run_dir):
        threads = _open(settings, data, run_dir)
        with determinism.threads(threads), determinism.deterministic(), stop_on_signal() as stop:
            torch.manual_seed(settings.seed)
            session = _Session(settings, data, run_dir, Trainer(settings, data.recognizer), on_progress)
            start = session.resume(on_note)
            steps = session.train(start, min(settings.steps, max_steps or settings.steps), stop)
            if steps < settings.steps:
                return CfsmResult(steps, start)
            return CfsmResult(steps, start, run_dir / WEIGHTS, session.finish(int8))


def _identity(settings: CfsmSettings, data: CfsmData) -> dict[str, Any]:
    """Return what two runs must share to be the same run."""
    plain = {key: value for key, value in dataclasses.asdict(settings).items() if key not in _COSMETIC}
    digests = {"source": data.source.digest, "target": data.target.digest, "identity": data.recognizer.digest}
    return dict(json.loads(json.dumps({**plain, **digests})))


def _open(settings: CfsmSettings, data: CfsmData, run_dir: Path) -> int:
    """Write ``run.json``, or check that it describes this very run; return its thread count."""
    identity = _identity(settings, data)
    path = run_dir / "run.json"
    if not path.exists():
        versions = {"lrfr": __version__, "torch": torch.__version__, "python": platform.python_version()}
        threads = settings.threads or determinism.usable_cores()
        known = {"method": "cfsm", "identity": identity, "threads": threads, "versions": versions}
        write_atomic(path, canonical(known), run_dir)
        return threads
    try:
        known = json.loads(path.read_text("utf-8"))
        old, threads = dict(known["identity"]), int(known["threads"])
    except (ValueError, KeyError, TypeError):
        raise DataError("not a run folder, or its run.json is damaged", file=str(run_dir)) from None
    differing = [key for key in sorted(old.keys() | identity.keys()) if old.get(key) != identity.get(key)]
    if differing:
        raise SpecError(
            f"this folder holds another run: other {', '.join(differing)}",
            file=str(run_dir),
            hint="choose another folder",
        )
    return threads


class _Session:
    """One call of :func:`fit_cfsm`."""

    def __init__(
        self, settings: CfsmSettings, data: CfsmData, run_dir: Path, trainer: Trainer, on_progress: Advance
    ) -> None:
        self.settings, self.data, self.run_dir, self.trainer, self.on_progress = (
            settings,
            data,
            run_dir,
            trainer,
            on_progress,
        )
        self.journal = Journal(run_dir / "journal.jsonl")
        self.seen = data.source.length - 2 * CURVE_FACES

    def resume(self, on_note: Callable[[str], None]) -> int:
        """Load the newest intact checkpoint and return its step, 0 without one."""
        for folder in reversed(checkpoint.steps(self.run_dir)):
            try:
                saved = checkpoint.load(folder)
            except DataError as error:
                on_note(f"passing over a damaged checkpoint: {error}")
                continue
            self.trainer.load(saved, str(folder))
            return int(saved.state["step"])
        return 0

    def train(self, start: int, end: int, stop: StopFlag) -> int:
        """Take the steps from ``start`` to ``end``; return where it stopped."""
        self.journal.open_at(start)
        self.on_progress(start, self.settings.steps)
        step, clock = start, time.perf_counter()
        try:
            while step < end and not stop.signum:
                losses = self.trainer.step(step, *self.faces(step))
                step += 1
                now = time.perf_counter()
                self._note(step, losses, self.settings.batch_size / (now - clock))
                clock = now
                if step % self.settings.grid_every == 0 or step == self.settings.steps:
                    self._picture(step)
                if step % self.settings.save_every == 0 or step == end or stop.signum:
                    self._save(step)
        finally:
            self.journal.close()
        return step

    def faces(self, step: int) -> tuple[Tensor, Tensor]:
        """Return the source and target faces of a step, float32 in [-1, 1]."""
        size, seed = self.settings.batch_size, self.settings.seed
        source = self.data.source.read(rows(seed, "source", self.seen, step * size, size).tolist())
        target = self.data.target.read(
            rows(seed, "target", self.data.target.length, step * size, size).tolist()
        )
        return to_input(source), to_input(target)

    def _note(self, step: int, losses: Losses, rate: float) -> None:
        values = {name: float(value) for name, value in losses.items()}
        self.journal.write({"step": step, "loss": values, "rate": round(rate, 2)})
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            self.journal.flush()
            raise NumericFault(
                f"{', '.join(bad)} is not finite at step {step}",
                file=str(self.run_dir),
                hint="lower the learning rate",
            )
        self.on_progress(
            step, self.settings.steps, **{name: value for name, value in values.items() if name != "total"}
        )

    def _picture(self, step: int) -> None:
        """Write held-back faces at each norm of z over a row of target faces, and name the picture in the
        journal.
        """
        generator = self.trainer.averaged
        card = Card(self.settings.layout, self.settings.size_px, self.settings.identity_range)
        faces = list(self.data.source.read(range(self.seen, self.data.source.length, CURVE_FACES // 2)))
        count = min(len(GRID_MAGNITUDES) + 1, self.data.target.length)
        sheet = [
            magnitude_sheet(generator, card, faces, GRID_MAGNITUDES),
            tile([list(self.data.target.read(range(count)))]),
        ]
        folder = self.run_dir / "grids"
        folder.mkdir(exist_ok=True)
        for kind, picture in zip(("styles", "targets"), sheet, strict=True):
            (folder / f"{kind}-{step:08d}.png").write_bytes(encode_png(picture))
        self.journal.write({"step": step, "grid": f"grids/styles-{step:08d}.png"})

    def _save(self, step: int) -> None:
        self.journal.flush()
        state = {"step": step, "threads": torch.get_num_threads(), "torch": torch.__version__}
        identity = {"method": "cfsm", **_identity(self.settings, self.data)}
        model = checkpoint.model_tensors(self.trainer.nets)
        folder = self.run_dir / "checkpoints" / f"step-{step:08d}"
        optimizer, averaged = self.trainer.optimizer_tensors(), self.trainer.averaged_tensors()
        checkpoint.save(folder, checkpoint.Checkpoint(identity, model, state, optimizer, averaged))
        checkpoint.prune(self.run_dir, keep=2)

    def finish(self, int8: bool) -> Acceptance:
        """Measure and write the averaged generator with its calibration; return its figures."""
        generator = self.trainer.averaged
        if int8:
            generator.load_state_dict(unpack(pack(generator.state_dict())))
        held = to_input(self.data.source.read(range(self.seen, self.data.source.length)))
        settings, recognizer = self.settings, self.data.recognizer
        curve = measure_curve(generator, recognizer, held[:CURVE_FACES], settings.seed)
        provenance = {
            key: value
            for key, value in _identity(settings, self.data).items()
            if isinstance(value, str | int | float)
        }
        kept = settings.identity_range.within(curve)
        card = Card(settings.layout, settings.size_px, kept, curve, provenance)
        save_weights(self.run_dir / WEIGHTS, generator, card, int8=int8)
        written = load_weights(str(self.run_dir / WEIGHTS)).generator
        return accept(
            written, recognizer, held[CURVE_FACES:], curve=curve, wanted=kept, seed=settings.seed + 1
        )
