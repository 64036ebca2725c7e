"""The plan of a first hour: from what the photographs are to a declared comparison, and what to expect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lrfr.core.errors import DataError
from lrfr.core.machine import usable_cores
from lrfr.experiment.first_hour.given_teacher import HERE, Teacher
from lrfr.experiment.first_hour.pace import ALIGN_S, PAIR_S, START_S, Length, length_of, pace_of
from lrfr.experiment.first_hour.photo_look import PhotoLook

SIZES_PX = (112, 28, 14, 7)
CROPS, VIEW = "aligned", "faces"
_SHARES = (0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7)
# what a list of pairs needs (docs/evaluate.md), and what makes its folds and intervals mean something
_LEAST_HELD, _WISHED_HELD = 4, 40
_FEW_TO_LEARN = 100
_VARIANTS, _REPLICATES = 2, 500
# passes over the faces and faces a step, of networks that are new and of those that start from a teacher
_MOST = {True: (40, 64), False: (60, 32)}


@dataclass(frozen=True)
class Sides:
    """Whom the networks learn from and whom they are measured on.

    Attributes:
        share: of the people that is held out, as ``make-pairs --holdout`` takes it.
        learn: people to learn from, with the number of their photographs.
        held: people held out, with the number of their photographs.

    """

    share: float
    learn: Mapping[str, int]
    held: Mapping[str, int]

    @property
    def learn_faces(self) -> int:
        """Number of photographs to learn from."""
        return sum(self.learn.values())

    @property
    def held_faces(self) -> int:
        """Number of photographs to measure on."""
        return sum(self.held.values())

    @property
    def held_pairs(self) -> int:
        """Number of people held out with two photographs or more."""
        return sum(count > 1 for count in self.held.values())


@dataclass(frozen=True)
class FirstPlan:
    """What is to be done.

    Attributes:
        sides: who is on which side.
        declared: the experiment, as its file says it.
        remarks: what is small, and what will mean nothing.

    """

    sides: Sides
    declared: Mapping[str, Any]
    remarks: tuple[str, ...]


def plan_of(look: PhotoLook, teacher: Teacher, minutes: float) -> FirstPlan:
    """Plan alignment, hold-out, pairs, trainings, evaluations and report.

    Raises:
        DataError: too few people to learn from some and measure on others.

    """
    sides = sides_of(look)
    pace = pace_of(teacher.backbone)
    count = len(look.faces)
    cores = usable_cores()
    fixed = {
        "align": START_S + count * ALIGN_S / cores,
        "pairs": START_S + count * PAIR_S * _VARIANTS / cores,
        "eval": 2 * START_S + sides.held_faces * (2 * len(SIZES_PX)) * pace.embed_s,
    }
    models = len(_arms(teacher)) + teacher.strong
    spent = fixed["pairs"] + models * fixed["eval"] + 3 * START_S + (0 if look.aligned else fixed["align"])
    left = (60 * minutes - spent) / len(_arms(teacher))
    face_s = pace.train_s + pace.embed_s
    length = length_of(sides.learn_faces, left - START_S, face_s, *_MOST[not teacher.strong])
    declared = {**_head(look, sides, fixed), **teacher.declared(), **_models(teacher, length)}
    declared["evaluations"] = {
        "held-out": {
            "benchmark": "view",
            "flags": {"view": VIEW, "split": "test", "sizes": list(SIZES_PX), "replicates": _REPLICATES},
            "estimate_s": round(fixed["eval"], 1),
        }
    }
    remarks = (*look.notes, *_remarks(look, sides, teacher), *_short(length, sides, minutes))
    return FirstPlan(sides, declared, remarks)


def sides_of(look: PhotoLook) -> Sides:
    """Return the smallest hold-out that leaves enough people on both sides.

    Raises:
        DataError: none does.

    """
    wished = min(_WISHED_HELD, max(_LEAST_HELD, len(look.people) // 4))
    found = [Sides(share, *look.side(share)) for share in _SHARES]
    fit = [
        sides
        for sides in found
        if len(sides.learn) > 1
        and sides.learn_faces > 3
        and len(sides.held) >= _LEAST_HELD
        and sides.held_pairs > 1
    ]
    if not fit:
        several = sum(count > 1 for count in look.people.values())
        raise DataError(
            f"{len(look.people)} people, {several} of them with two pictures or more, are too few to learn "
            "from some and measure on others",
            file=look.origin,
            hint="about 10 people with two pictures each are the least, 100 tell something; to see the way: "
            "lrfr quickstart synthetic:ids=40,per_id=4",
        )
    return next(
        (sides for sides in fit if sides.held_pairs >= wished), max(fit, key=lambda one: one.held_pairs)
    )


def _head(look: PhotoLook, sides: Sides, fixed: Mapping[str, float]) -> dict[str, Any]:
    """Return the part of the experiment before any model."""
    source = look.crops_source(CROPS)
    spec: dict[str, Any] = {
        "spec": "maug",
        "set": ["pipeline.d1.size={choice: [28, 14, 7], weights: [1, 1, 1]}"],
    }
    flags = {"source": source, **spec, "variants": _VARIANTS, "holdout": sides.share}
    of = {} if look.aligned else {"of": CROPS}
    seen = {"of": CROPS} if not look.aligned else {"faces": look.text} if look.form == "folders" else {}
    declared: dict[str, Any] = {
        "version": 1,
        "name": "quickstart",
        "title": "A first hour: small faces of people whom no network has seen",
    }
    if not look.aligned:
        declared["alignments"] = {CROPS: {"photos": look.text, "estimate_s": round(fixed["align"], 1)}}
    declared["views"] = {VIEW: {**of, "flags": flags, "estimate_s": round(fixed["pairs"], 1)}}
    picture = {"caption": "what the students see: 28, 14 or 7 px, drawn for each face", "estimate_s": START_S}
    if seen and not look.text.startswith("folder:"):
        declared["pictures"] = {
            "degraded": {
                **picture,
                **seen,
                "flags": {**spec, "set": list(spec["set"]), "variants": 3, "limit": 12},
            }
        }
    return declared


def _arms(teacher: Teacher) -> dict[str, dict[str, Any]]:
    """Return the trainings, without their lengths."""
    if teacher.strong:
        common = {"distance": "embedding", "lambda": 1, "margin_weight": 0, "batch_norm": "frozen"}
        parents = {"teacher": "teacher", "init": "teacher"}
        student = {"method": "fskd", "view": VIEW, "parents": parents}
        return {
            "student": {**student, "set": {"backbone": teacher.backbone, **common}},
            "contrast": {**student, "set": {"backbone": teacher.backbone, **common, "contrast_weight": 0.5}},
        }
    untaught = {"method": "baseline", "recipe": "lr", "view": VIEW}
    if teacher.kind != HERE:
        return {"untaught": untaught, "maug": {"method": "maug", "view": VIEW}}
    return {
        "teacher": {"method": "baseline", "view": VIEW, "set": {"side": "hr"}},
        "untaught": untaught,
        "student": {"method": "fskd", "view": VIEW, "parents": {"teacher": "teacher"}},
    }


def _models(teacher: Teacher, length: Length) -> dict[str, Any]:
    """Return the trainings and, of a strong teacher's students, the router."""
    loop: dict[str, Any] = {
        "train.unit": "step",
        "train.length": length.steps,
        "train.batch_size": length.batch_size,
        "train.schedule": "cosine",
        "train.warmup": length.steps // 10,
        "train.save_every": max(5, min(100, length.steps // 5)),
    }
    if teacher.strong:
        loop |= {
            "train.optimizer": "adamw",
            "train.lr": 0.0005,
            "train.weight_decay": 0.01,
            "train.clip_norm": 0,
        }
    else:
        # recipes of small networks learn with 0.1 at 64 faces
        loop |= {"train.lr": round(0.1 * length.batch_size / 64, 5), "train.milestones": "[]"}
    estimate = {"estimate_s": round(START_S + length.seconds, 1)}
    found: dict[str, Any] = {
        "common": {"set": loop},
        "trainings": {name: {**arm, **estimate} for name, arm in _arms(teacher).items()},
    }
    if teacher.strong:
        found["routes"] = {"routed": {"at": {28: "student"}, "rest": "teacher"}}
    return found


def _remarks(look: PhotoLook, sides: Sides, teacher: Teacher) -> list[str]:
    """Return what is too small, and what will mean nothing for it."""
    told = []
    if look.nameless:
        told.append(
            f"{look.nameless} of {len(look.faces)} pictures are of nobody known: neither learned as a person "
            "nor measured"
        )
    single = sum(count == 1 for count in look.people.values())
    if single:
        told.append(
            f"{single} of {len(look.people)} people {'has' if single == 1 else 'have'} one picture: "
            "no genuine pair of theirs"
        )
    half = 100 * 1.96 * 0.4 / math.sqrt(sides.held_pairs)
    if sides.held_pairs < _WISHED_HELD:
        told.append(
            f"few people to measure on ({sides.held_pairs} with two pictures): 95 % intervals may span "
            f"+-{half:.0f} points, and a smaller difference between two models means nothing"
        )
    apart = (sides.held_faces**2 - sum(count**2 for count in sides.held.values())) // 2
    if apart < 3000:
        told.append(
            f"{apart} impostor pairs can be drawn: false-accept rates below {1 / apart:.1g} mean nothing"
        )
    if not teacher.strong and len(sides.learn) < _FEW_TO_LEARN:
        told.append(
            f"few people to learn from ({len(sides.learn)}): networks trained here on so few learn these "
            "people, not faces: they show the way, not a method's worth; --teacher takes a trained one"
        )
    return told


def _short(length: Length, sides: Sides, minutes: float) -> list[str]:
    passes = length.steps * length.batch_size / sides.learn_faces
    if passes >= 3:
        return []
    return [
        f"{minutes:g} minutes allow {passes:.1f} passes over the faces, too few to learn: raise --minutes"
    ]
