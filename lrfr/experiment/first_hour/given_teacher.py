"""The teacher of a first hour: weights of others, a run of lrfr, one that is trained here, or none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lrfr.core.errors import SpecError, as_path
from lrfr.core.files import scratch, sha256_file
from lrfr.train.checkpoint import digest_of, read_manifest, resolve
from lrfr.train.weights.import_weights import fitting_backbone, import_weights
from lrfr.train.weights.model_identity import ModelIdentity

HERE, NONE = "here", "none"
_ELSE = "a file of weights (.pth, .onnx, ...), a run or checkpoint of lrfr, 'here' to train one, or 'none'"


@dataclass(frozen=True)
class Teacher:
    """A teacher.

    Attributes:
        kind: ``here``, ``none``, ``weights`` (a file to import) or ``run`` (of lrfr, ready).
        place: absolute path of the file or run.
        backbone: of the teacher and its students.
        digest: of its weights.

    """

    kind: str
    place: str = ""
    backbone: str = "tiny"
    digest: str = ""

    @property
    def strong(self) -> bool:
        """Say whether its students start from it and learn its embeddings."""
        return self.kind not in {HERE, NONE}

    def declared(self) -> Mapping[str, object]:
        """Return the part of an experiment that brings it."""
        if self.kind == "weights":
            flags = {"backbone": self.backbone}
            return {"imports": {"teacher": {"source": self.place, "flags": flags, "estimate_s": 8.0}}}
        return {"given": {"teacher": self.place}} if self.kind == "run" else {}


def find_teacher(text: str) -> Teacher:
    """Return the teacher that a word or path names; weights are tried on their backbone at once.

    Raises:
        SpecError: nothing of the kind there.
        DataError: weights that fit no backbone, or a damaged checkpoint.

    """
    if text in {HERE, NONE}:
        return Teacher(text)
    path = as_path(text, "a teacher")
    if not path.exists():
        raise SpecError("there is no such teacher", file=text, hint=_ELSE)
    place = str(path.absolute())
    if path.is_dir():
        folder = resolve(path)
        identity = ModelIdentity.read(read_manifest(folder), folder)
        return Teacher("run", place, str(identity.options.get("backbone")), digest_of(folder))
    backbone = fitting_backbone(path)
    with scratch("teacher") as folder:
        import_weights(path, folder / "tried", backbone)
    return Teacher("weights", place, backbone, sha256_file(path))
