"""Which curves a set of results can show, and with what captions."""

from __future__ import annotations

import base64

from lrfr.eval.report import plots
from lrfr.eval.report.blocks import Image
from lrfr.eval.report.compare import second_size, size_pair
from lrfr.eval.results import Result

_SMALLEST = 3  # with several models, curves are drawn for this many of the smallest sizes


def curves(own: list[Result]) -> list[Image]:
    """Draw what the results of one test allow: metric against size, ROC, DET, similarity histograms."""
    return [*_against_size(own), *_error_curves(own), *_similarities(own)]


def _against_size(own: list[Result]) -> list[Image]:
    metric = next((name for name in ("accuracy", "rank-1", "mean") if name in own[0].metrics), None)
    images = []
    for matching in ("cross", "same"):
        part = [
            result
            for result in own
            if result.sizes is not None and (result.matching == matching or _is_first(result, own))
        ]
        if (
            metric is None
            or len({size for result in part if isinstance(size := second_size(result), int)}) < 2
        ):
            continue
        chance = 0.5 if own[0].protocol == "verification" else None
        text = (
            f"{metric} against the side of the small image, {matching}-resolution. Bands are 95 % intervals"
        )
        text += "; the dotted line is chance." if chance else "."
        images.append(
            _image(
                plots.draw(
                    f"{metric}, {matching}-resolution",
                    text,
                    part,
                    plots.accuracy_against_size(metric, chance=chance),
                )
            )
        )
    return images


def _is_first(result: Result, own: list[Result]) -> bool:
    """Say whether this is the HR-HR cell, which belongs to both kinds of curve."""
    return bool(result.sizes == own[0].sizes)


def _error_curves(own: list[Result]) -> list[Image]:
    drawn = [
        result
        for result in own
        if "roc" in result.curves and (result.matching != "same" or _is_first(result, own))
    ]
    if not drawn:
        return []
    names = plots.models_of(drawn)
    groups = (
        [(names[0], drawn)]
        if len(names) == 1
        else [(place, _at(place, drawn)) for place in _places(drawn)[-_SMALLEST:]]
    )
    images = []
    for label, part in groups:
        text = f"{label}: TAR over FAR. A line ends at the smallest FAR that its impostor pairs can show."
        images.append(_image(plots.draw(f"ROC, {label}", text, part, plots.roc_curves)))
    for label, several in groups:
        images += _rejects(label, [result for result in several if "edc" in result.curves])
    label, part = groups[0]
    text = f"{label}: missed over falsely accepted pairs on normal-deviate axes; the lower left is better."
    images.append(_image(plots.draw(f"DET, {label}", text, part, plots.det_curves)))
    return images


def _rejects(label: str, part: list[Result]) -> list[Image]:
    if not part:
        return []
    text = (
        f"{label}: missed pairs over the share of pairs that is refused, those of the smallest norms first "
        f"(ISO/IEC 29794-1), at FAR {part[0].curves['edc']['far'][0]:g}. A falling line says that the norm "
        "tells poor faces."
    )
    return [_image(plots.draw(f"error versus reject, {label}", text, part, plots.reject_curves))]


def _places(results: list[Result]) -> list[str]:
    return list(dict.fromkeys(size_pair(result) for result in results))


def _at(place: str, results: list[Result]) -> list[Result]:
    return [result for result in results if size_pair(result) == place]


def _similarities(own: list[Result]) -> list[Image]:
    images = []
    for name in plots.models_of(own):
        part = [
            r
            for r in own
            if r.model.name == name
            and "histogram" in r.curves
            and (r.matching == "cross" or _is_first(r, own))
        ]
        if part:
            text = f"{name}: cosines of same and different pairs, {size_pair(part[0])} above the line"
            text += f", {size_pair(part[-1])} below it." if len(part) > 1 else "."
            images.append(_image(plots.draw(f"similarities, {name}", text, part, plots.histograms)))
    return images


def _image(picture: plots.Picture) -> Image:
    light, dark = (
        f"data:image/svg+xml;base64,{base64.b64encode(picture.svg[theme]).decode()}"
        for theme in ("light", "dark")
    )
    return Image(picture.name, picture.caption, light, dark)
