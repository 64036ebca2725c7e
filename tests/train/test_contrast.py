"""The contrast with the teacher's queue against its printed formula."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lrfr.core.errors import SpecError
from lrfr.train.losses.contrast import TeacherQueue


def cosine(x: Tensor, y: Tensor) -> float:
    return sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / (
        math.hypot(*x.tolist()) * math.hypot(*y.tolist())
    )


def by_hand(
    student: Tensor, teacher: Tensor, labels: list[int], seen: list[tuple[Tensor, int]], scale: float
) -> float:
    """Mean of -log(e^{s c} / (e^{s c} + sum of e^{s c_k})) over other people's faces in ``seen``, the batch's
    own among them.
    """
    losses = []
    for s, t, label in zip(student, teacher, labels, strict=True):
        others = [
            math.exp(scale * cosine(s, face))
            for face, other in seen
            if not (other == label >= 0) and face is not t
        ]
        own = math.exp(scale * cosine(s, t))
        losses.append(-math.log(own / (own + sum(others))))
    return sum(losses) / len(losses)


def test_contrast_is_its_formula_and_the_oldest_faces_leave_first() -> None:
    generator = torch.Generator().manual_seed(0)
    queue, seen = TeacherQueue(7, 5), []
    for labels in ([0, 1, 0], [2, -1, -1], [1, 3, -1], [0, 0, 4]):
        student, teacher = torch.randn(2, 3, 5, generator=generator)
        teacher_rows = list(teacher)
        seen = [*seen, *zip(teacher_rows, labels, strict=True)][-7:]
        found = queue(student, teacher, torch.tensor(labels), 3.0)
        assert float(found) == pytest.approx(by_hand(student, teacher_rows, labels, seen, 3.0), rel=1e-5)


def test_gradient_flows_to_the_student_alone() -> None:
    student, teacher = torch.randn(4, 6, requires_grad=True), torch.randn(4, 6, requires_grad=True)
    TeacherQueue(8, 6)(student, teacher, torch.arange(4), 20.0).backward()
    assert student.grad is not None and bool(student.grad.abs().sum() > 0)
    assert teacher.grad is None


def test_a_batch_larger_than_the_queue_is_refused() -> None:
    with pytest.raises(SpecError, match="contrast_queue to 4"):
        TeacherQueue(3, 6)(torch.randn(4, 6), torch.randn(4, 6), torch.arange(4), 20.0)
