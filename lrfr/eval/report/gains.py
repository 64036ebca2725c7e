"""Relative gains of BTNet (Eq. 4 and 5): how much of a reference model's step over the HR model another model
makes.
"""

from __future__ import annotations


def relative_gain(model: float, hr: float, reference: float) -> float | None:
    """Return ``(model - hr) / |reference - hr|``, or None where the reference equals the HR model.

    Args:
        model: metric of the model in question.
        hr: metric of the model trained on HR only.
        reference: cross-resolution (Eq. 4): the multi-resolution model; same-resolution (Eq. 5): the model
            trained on that resolution alone.

    The bars are the paper's: a reference below the HR model has gain -1, not +1. The paper prints +0.00 for a
    zero denominator.

    """
    step = abs(reference - hr)
    return None if step == 0 else (model - hr) / step
