"""A fit from crops to spec: structure, bank, rounds, population, laws, choice on validation, test."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.image import ImageU8
from lrfr.core.progress import Stopped
from lrfr.degrade.spec.model import Spec
from lrfr.fit.choosing import Candidate, Chooser
from lrfr.fit.fit_record import TOO_FEW, FittedCamera, FittedLaw
from lrfr.fit.infer.bank import Bank, BankMaker, BankSizes, budget_words, simulate
from lrfr.fit.infer.camera_laws import camera_spec, literals_of
from lrfr.fit.infer.closing import closed
from lrfr.fit.infer.evidence import Evidence
from lrfr.fit.infer.fitted_spec import histogram_literals, read_back, with_literals
from lrfr.fit.infer.matching import Matcher
from lrfr.fit.infer.posteriors import Reader, train_reader
from lrfr.fit.infer.prior_space import variables_of
from lrfr.fit.infer.summaries import Histograms, Summaries, prior_histograms
from lrfr.fit.judge.same_people import same_people
from lrfr.fit.judge.two_sample import Nearness, Ruler, check_installed
from lrfr.fit.last_figures import LastFigures
from lrfr.fit.law_report import told_shares, with_intervals
from lrfr.fit.look.clean_faces import CleanFaces
from lrfr.fit.look.crop_files import Crops, split_crops, warnings_of
from lrfr.fit.look.face_statistics import Gaze, face_statistics
from lrfr.fit.prior_shape import shaped_prior
from lrfr.fit.structure_scan import Scan, Structure
from lrfr.pairs.executors.dispatch import Runner

_MOST_GROUPS = 3
_LEAST_SHARE = 0.05
_LEAST_FITTED = 50  # crops of the fit part to a group
_WIDE = 0.3  # of the prior in the rounds near the estimate
_FRESH = 600


@dataclass(frozen=True)
class FitSettings:
    """What a person may ask for.

    Attributes:
        seed: of everything that is drawn.
        bank: simulated faces of the first round.
        rounds: further rounds near the estimate.
        round_faces: simulated faces of each.
        prior: a spec of the user's own; None for the shipped one.
        groups: most groups of crops with distributions of their own.
        budget_minutes: about how long one core may work; sets the three of banks.

    """

    seed: int = 0
    bank: int = 6000
    rounds: int = 2
    round_faces: int = 2500
    prior: str | None = None
    groups: int = _MOST_GROUPS
    budget_minutes: float | None = None

    def within_budget(self) -> FitSettings:
        """Return the settings with banks of a size that the budget allows: the same for the same budget."""
        sizes = BankSizes(self.bank, self.rounds, self.round_faces).within(self.budget_minutes)
        return replace(self, **vars(sizes))


class CameraFit:
    """One fit; :meth:`run` goes through its stages.

    Args:
        crops: of the camera.
        clean: faces of other people.
        folder: of banks, taken up again by a later run.
        settings: what was asked for.
        runner: where simulations run, and the hooks.
        embed: a recognizer for further distances, or None.

    """

    def __init__(
        self,
        crops: Crops,
        clean: CleanFaces,
        folder: Path,
        settings: FitSettings,
        runner: Runner,
        *,
        embed: Embedder | None = None,
    ) -> None:
        check_installed()
        self.crops, self.clean, self.folder = crops, clean, folder
        self.settings, self.runner, self.embed = settings.within_budget(), runner, embed
        self.parts = split_crops(len(crops), settings.seed)
        self.started = time.process_time()

    def run(self) -> FittedCamera:
        """Return the fitted camera.

        Raises:
            Stopped: the hooks said so; simulations that were finished are kept.

        """
        kept, distances, laws = self._chosen()
        found = self.last_figures.run(kept.spec, self.chooser.distance, self.embed)
        counts = {f"crops, {name}": len(rows) for name, rows in self.parts.items()}
        shares = kept.population.shares.tolist() if kept.population else [1.0]
        return FittedCamera(
            replace(kept.spec, name="camera"),
            kept.name if kept.population is None else "fit",
            self.structure,
            laws,
            found.rows,
            distances,
            tuple(shares),
            found.differing,
            self.notes,
            {**counts, "clean faces": self.clean.faces.count},
            time.process_time() - self.started,
            self.stats,
            found.shown,
        )

    def _chosen(self) -> tuple[Candidate, Mapping[str, Nearness], tuple[FittedLaw, ...]]:
        """Return what is kept, how near all are to the validation crops, and what is known of its laws."""
        if self._few:
            return *self.chooser.run([self._scanned]), ()
        reader, matcher = self._rounds()
        kept, distances = self.chooser.run(self._candidates(matcher, self.evidence))
        if kept.population is None:
            return kept, distances, ()
        told = told_shares(reader, matcher.variables, self._fresh_bank(matcher))
        again = matcher.resampled(self.evidence.stats, kept.population)
        return kept, distances, with_intervals(kept.spec, self._tail, matcher.variables, again, told)

    @property
    def _few(self) -> bool:
        return len(self.parts["fit"]) < _LEAST_FITTED

    @property
    def _scanned(self) -> Candidate:
        return Candidate("structure scan", self.structure.spec())

    @property
    def last_figures(self) -> LastFigures:
        """What measures on the test crops."""
        test, fit = self.parts["test"], self.parts["fit"]
        seed = self.settings.seed
        return LastFigures(self.crops, test, fit, self.clean, self.structure, self.ruler, seed)

    @property
    def _rows(self) -> list[int]:
        return [*self.clean.parts["validation"], *self.clean.parts["fit"]][:400]

    @cached_property
    def faces(self) -> list[ImageU8]:
        """Clean faces of the validation part, then of the fit part: for scans and choices."""
        return self.clean.faces.take(self._rows)

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What a person should know."""
        found = [*self.crops.notes, *self.clean.notes, *warnings_of(self.crops.pictures, self.faces)]
        if self.embed is not None:
            people = [self.clean.labels[row] for row in self._rows]
            found += same_people(self.embed, self.crops.pictures, self.faces, people)
        asked = self.settings
        return *found, *([TOO_FEW] if self._few else budget_words(asked.budget_minutes, asked.bank))

    @cached_property
    def structure(self) -> Structure:
        """The camera's structure."""
        fit = [self.crops.pictures[row] for row in self.parts["fit"]]
        part = replace(self.crops, pictures=tuple(fit), names=())
        return Scan(part, self.faces, self.runner.hooks).run()

    @cached_property
    def gaze(self) -> Gaze:
        """How crops are looked at."""
        return self.structure.gaze()

    @cached_property
    def prior(self) -> Spec:
        """The prior of this camera."""
        return shaped_prior(self.settings.prior, self.structure)

    @property
    def _tail(self) -> int:
        return len(self.structure.tail())

    @cached_property
    def stats(self) -> NDArray[np.float32]:
        """Statistics of all crops."""
        return face_statistics(self.crops.pictures, self.gaze)

    @cached_property
    def ruler(self) -> Ruler:
        """The space of distances, of the fit part alone."""
        return Ruler.of(self.stats[self.parts["fit"]], self._first_bank.stats[:1500])

    @cached_property
    def _maker(self) -> BankMaker:
        return BankMaker(
            self.folder, self.clean.faces, self.gaze, self.prior, self.runner, self.settings.seed
        )

    @cached_property
    def _first_bank(self) -> Bank:
        return self._maker.make(self.prior, self.settings.bank, self.clean.parts["fit"], "bank")

    def _rounds(self) -> tuple[Reader, Matcher]:
        """Train on the bank, then on banks near the estimate together with all before."""
        variables = variables_of(self.prior)
        banks = [self._first_bank]
        drawn = [prior_histograms(banks[0], variables)]
        for turn in range(self.settings.rounds + 1):
            self._stop_if_asked()
            each = partial(self._progress_of_network, turn + 1)
            reader = train_reader(reduce(Bank.joined, banks), variables, self.settings.seed + turn, each=each)
            summaries = Summaries(reader, self.ruler.reduced, banks[-1])
            matcher = Matcher(banks, drawn, variables, summaries, self.settings.seed)
            if turn == self.settings.rounds:
                break
            near, histograms = self._near(matcher)
            rows = self.clean.parts["fit"]
            banks.append(self._maker.make(near, self.settings.round_faces, rows, f"round {turn + 1}"))
            drawn.append(histograms)
        return reader, matcher

    def _fresh_bank(self, matcher: Matcher) -> Bank:
        """Return faces near the estimate, of draws and people that no network was trained on."""
        count, rows = min(_FRESH, self.settings.round_faces), self.clean.parts["validation"]
        return self._maker.make(self._near(matcher)[0], count, rows, "unseen faces")

    def _near(self, matcher: Matcher) -> tuple[Spec, Histograms]:
        """Return the estimate of now, mixed with the prior, as a spec to draw from and as histograms."""
        found = matcher.fit(self.evidence).groups[0]
        mixed = tuple(
            (1 - _WIDE) * own + _WIDE * wide for own, wide in zip(found, matcher.prior, strict=True)
        )
        literals = histogram_literals(mixed, matcher.variables)
        literals |= self.evidence.mixed_literals(matcher.variables, matcher.prior, _WIDE)
        return read_back(with_literals(self.prior, literals, matcher.variables)), mixed

    @cached_property
    def evidence(self) -> Evidence:
        """What the crops of the fit part tell one by one."""
        rows = self.parts["fit"]
        crops, exact = [self.crops.pictures[row] for row in rows], self.structure.told_by != "spectrum"
        return Evidence.of(crops, self.stats[rows], self.gaze, exact_sizes=exact)

    def _candidates(self, matcher: Matcher, evidence: Evidence) -> list[Candidate]:
        """Return what may be kept, the simplest first."""
        found = [self._scanned]
        for groups in range(1, self.settings.groups + 1):
            if len(evidence.sizes) < _LEAST_FITTED * groups:
                break
            self._stop_if_asked()
            self.runner.hooks.progress(groups, self.settings.groups, phase="groups")
            population = matcher.fit(evidence, groups)
            if population.shares.min() < _LEAST_SHARE:
                break
            population = closed(matcher, evidence, population)
            title = "" if groups == 1 else f", {groups} groups"
            for name, simple in (("fit", True), ("fit, histograms", False)):
                literals = literals_of(matcher, evidence, population, simple=simple)
                spec = camera_spec(self.prior, literals, population.shares.tolist(), self._tail, "camera")
                found.append(Candidate(f"{name}{title}", spec, population))
        return found

    @cached_property
    def chooser(self) -> Chooser:
        """What chooses by the validation crops."""
        real = self.ruler.reduced(self.stats[self.parts["validation"]])

        def look(spec: Spec) -> NDArray[np.float64]:
            """Return faces as the camera of a spec gives them, in the ruler's coordinates."""
            self._stop_if_asked()
            names = [b"choice/%d" % k for k in range(len(self.faces))]
            return self.ruler.reduced(
                face_statistics(simulate(spec, self.faces, names, self.gaze), self.gaze)
            )

        return Chooser(real, look, self.settings.seed, self.runner.hooks)

    def _progress_of_network(self, number: int, done: int, total: int) -> None:
        self.runner.hooks.progress(done, total, phase=f"network {number}")
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self.runner.hooks.stopping():
            raise Stopped
