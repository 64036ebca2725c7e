"""The figures of models beside each other, gradients by resolution, slopes of distances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from lrfr.core.embedder import Embedder
from lrfr.core.errors import SpecError
from lrfr.core.files import write_whole
from lrfr.core.image import ImageU8
from lrfr.core.progress import SILENT, Hooks
from lrfr.eval.analysis import charts, pictures
from lrfr.eval.analysis.beside import draw_beside
from lrfr.eval.analysis.block_statistics import compare_blocks, draw_blocks
from lrfr.eval.analysis.figures import Shown, draw_figures, some_faces
from lrfr.eval.low_res import parse_sizes, size_label
from lrfr.experiment.models import open_chosen, open_recognizer
from lrfr.experiment.steps.drawing.stored_here import draw_stored, results_of
from lrfr.experiment.steps.export_here import model_folder
from lrfr.train.weights.foreign.foreign_file import is_foreign

if TYPE_CHECKING:
    from lrfr.train.backbones.net_embedder import Embedder as NetEmbedder

_MOST_FACES = 32
_ERRORS = np.linspace(0.01, 3, 100)
_C = (0.0, 1.0, 4.0, 16.0)


@dataclass(frozen=True)
class FigureWish:
    """What is to be drawn.

    Attributes:
        checkpoint: of the model; None with ``embedder``, or where no model is drawn.
        embedder: ``module:function`` in its place.
        data: folder of aligned faces; None draws embedded invented ones.
        sizes: as ``--sizes`` has them; the first is HR, the last LR.
        count: of faces.
        seed: which faces, and of t-SNE.
        teacher: checkpoint whose blocks on HR the models' on LR are compared with.
        beside: other checkpoints.
        gradients: draw what faces of each size ask of the networks.
        distances: draw the slopes of MAug's distances.
        results: folder of results, or of a sweep or experiment, for what is reached by stored parameters.

    """

    checkpoint: Path | None = None
    embedder: str | None = None
    data: Path | None = None
    sizes: str = "112,28,14,7"
    count: int = 200
    seed: int = 0
    teacher: Path | None = None
    beside: Sequence[Path] = ()
    gradients: bool = False
    distances: bool = False
    results: Path | None = None

    @property
    def of_a_model(self) -> bool:
        """Whether a model is drawn, or was forgotten: nothing else is asked for."""
        named = self.checkpoint is not None or self.embedder is not None
        return named or not (self.distances or self.results)


@dataclass(frozen=True)
class Drawn:
    """Figures as PNG by name, and the numbers by block with what their two ends are."""

    pngs: Mapping[str, bytes]
    blocks: list[dict[str, float | str]]
    ends: str = ""

    def write(self, files: Mapping[str, Path]) -> None:
        """Write each figure to its place."""
        for name, png in self.pngs.items():
            write_whole(files[name], png)


def planned_figures(wish: FigureWish) -> list[str]:
    """Return the names of the figures that a wish comes to; blocks and curves may be left out where a model
    has none.

    Raises:
        SpecError: the sizes are none, or neither or both of checkpoint and embedder are given.
        DataError: a checkpoint or result is not there, or its listing is damaged.

    """
    parse_sizes(wish.sizes)
    for path in (wish.checkpoint, wish.teacher, *wish.beside):
        if path is not None and not is_foreign(path):
            model_folder(path)
    if wish.of_a_model and (wish.checkpoint is None) == (wish.embedder is None):
        open_chosen(wish.checkpoint, wish.embedder)
    if wish.results:
        results_of(wish.results)
    names = ["gallery", "ssim", "error-bound", "pca", "tsne", "dimensions", "attention", "stages"]
    names += ["norms", "correlation", *(["beside-dimensions", "beside-attention"] if wish.beside else [])]
    names = names if wish.of_a_model else []
    return (
        names
        + [name for name in ("gradients", "distances") if getattr(wish, name)]
        + (["stored"] if wish.results else [])
    )


def drawn_figures(wish: FigureWish, device: str = "cpu", hooks: Hooks = SILENT) -> Drawn:
    """Draw what is wished for.

    Raises:
        SpecError, DataError: see :func:`~lrfr.experiment.models.open_chosen` and :func:`gradient_sums`.

    """
    drawn = _of_models(wish, device, hooks) if wish.of_a_model else Drawn({}, [])
    pngs = dict(drawn.pngs)
    if wish.distances:
        pngs["distances"] = draw_distances()
    if wish.results:
        pngs["stored"] = draw_stored(results_of(wish.results))
    return Drawn(pngs, drawn.blocks, drawn.ends)


def _of_models(wish: FigureWish, device: str, hooks: Hooks) -> Drawn:
    opened = open_chosen(wish.checkpoint, wish.embedder, device=device)
    faces = some_faces(wish.data, wish.count, wish.seed, hooks)
    shown = Shown(faces, parse_sizes(wish.sizes), block_outputs, wish.seed)
    hooks.note(f"{opened.model.name}: {len(shown.faces)} faces at {wish.sizes}")
    pngs = draw_figures(opened.embed, shown)
    others = {name: open_recognizer(path, device=device).embed for name, path in _named(wish).items()}
    above = open_recognizer(wish.teacher, device=device) if wish.teacher else opened
    models = {opened.model.name: opened.embed, **others}
    compared = compare_blocks(above.embed, models, shown)
    pngs |= draw_blocks(compared, above.model.name)
    if others:
        pngs |= draw_beside((above.model.name, above.embed), models, shown)
    if wish.gradients:
        own = {opened.model.name: wish.checkpoint} if wish.checkpoint else {}
        pngs["gradients"] = draw_gradients({**own, **_named(wish)}, shown, device)
    ends = f"{size_label(shown.sizes[0])} against {size_label(shown.sizes[-1])}"
    return Drawn(pngs, [one.row for one in compared], ends)


def _named(wish: FigureWish) -> dict[str, Path]:
    """Return what stands beside the first model by its folder's name; by its path where several share one."""
    own = [] if wish.checkpoint is None else [wish.checkpoint.name]
    times = Counter([*own, *(path.name for path in wish.beside)])
    return {path.name if times[path.name] == 1 else str(path): path for path in wish.beside}


def draw_gradients(models: Mapping[str, Path], shown: Shown, device: str = "cpu") -> bytes:
    """Return the picture of :func:`gradient_sums` over the sides in px of ``shown``."""
    curves = {name: gradient_sums(path, shown, device) for name, path in models.items()}
    return pictures.against_size(curves, "sum of gradient norms")


def gradient_sums(path: Path, shown: Shown, device: str = "cpu") -> dict[int, float]:
    """Return, by side in px, the sum of the gradient norms of a checkpoint's parameters when its margin looks
    at small faces (MAug Fig. 3b); the class of a face is the one that it has at the first size.

    Raises:
        SpecError: the checkpoint has no classes, or the sizes no number of pixels.

    """
    from lrfr.train.heads.gradients import chosen_classes, margin_gradient_sum
    from lrfr.train.weights.load_nets import load_nets

    found = load_nets(path, device)
    sides = [size for size in shown.sizes if isinstance(size, int)]
    if "head" not in found.nets or len(sides) < 2:
        raise SpecError(
            "gradients need a checkpoint that has its classes, and two sizes in px", file=str(path)
        )
    head, embedder = found.nets["head"], found.identity.make().embedder(found.nets)

    def inputs(size: int) -> tuple[Any, Any]:
        return embedder.prepared(shown.small(shown.faces[:_MOST_FACES], size))

    net, large = inputs(sides[0])
    labels = chosen_classes(net, head, large)
    return {
        size: margin_gradient_sum(net, head, faces, labels)
        for size in sides
        for net, faces in (inputs(size),)
    }


def draw_distances() -> bytes:
    """Return the picture of the first derivatives of MAug's distances by the error of one dimension, and of
    LogExp's for several C, the sum over the other dimensions (MAug, Eq. 6 and Fig. 4).
    """
    kinds = {f"{kind}, C = 1" if kind == "logexp" else kind: (kind, 1.0) for kind in _KINDS}
    by_c = {f"C = {c:g}": ("logexp", c) for c in _C}
    panels = [
        (title, {name: (_ERRORS, distance_slope(*of)) for name, of in curves.items()})
        for title, curves in (("four distances", kinds), ("LogExp by the others' errors", by_c))
    ]
    return charts.slopes(panels, "error of one dimension")


_KINDS = ("l1", "l2", "smooth-l1", "logexp")


def distance_slope(distance: str, c: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return D times the derivative of a distance of MAug at errors from 0.01 to 3."""
    import torch

    from lrfr.train.heads.gradients import slope
    from lrfr.train.methods.maug import Maug

    others = torch.tensor([np.log1p(c)])  # its exp - 1 is C
    pull = Maug(distance=cast(Any, distance)).pull()
    return np.asarray(slope(pull, torch.from_numpy(_ERRORS), others).numpy())


def block_outputs(embed: Embedder, images: list[ImageU8]) -> list[NDArray[np.float32]]:
    """Return the outputs of the network's blocks on equally large images, ``[N, C, H, W]`` each, or nothing
    where it has none to give.
    """
    if not hasattr(embed, "prepared"):
        return []
    import torch

    net, x_bchw = cast("NetEmbedder", embed).prepared(images)
    run = getattr(net, "run", None)
    if run is None:
        return []
    with torch.no_grad():
        return [tap.float().cpu().numpy() for tap in run(x_bchw).taps]
