"""What a recognizer's checkpoint says about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lrfr.train.checkpoint import Checkpoint, Manifest, checked
from lrfr.train.methods.base import Method
from lrfr.train.recipe import method_from


@dataclass(frozen=True)
class ModelIdentity:
    """What the networks of a checkpoint are and where they come from.

    Attributes:
        method: name of the method that builds them.
        options: its options, all of them, as plain data: enough to build the networks anew.
        num_classes: identities of the head; 0 has none.
        attribute_names: soft-biometric attributes of the view.
        view: digest of the view; None for imported weights.
        parents: role to checkpoint digest.
        parent_methods: role to method of the parents that are of another method than is usual for the role.
        variants: spec, shards and weight of each degradation of the view.
        imported: sha256 of the file that the weights came from.

    """

    method: str
    options: Mapping[str, object]
    num_classes: int = 0
    attribute_names: tuple[str, ...] = ()
    view: str | None = None
    parents: Mapping[str, str] = field(default_factory=dict)
    parent_methods: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[Mapping[str, object], ...] = ()
    imported: str | None = None

    def make(self) -> Method:
        """Return the method.

        Raises:
            SpecError: unknown method or option.

        """
        return method_from(self.method, self.options)

    @classmethod
    def read(cls, found: Checkpoint | Manifest, place: Path) -> ModelIdentity:
        """Return the identity in a checkpoint or its manifest, which was found at ``place``.

        Raises:
            DataError: it is no recognizer, or a field is missing or wrong.

        """
        return checked(cls, found.identity, place)

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form; what is not known is left out, and so are usual parents."""
        found = {key: value for key, value in asdict(self).items() if value is not None}
        return found if self.parent_methods else {k: v for k, v in found.items() if k != "parent_methods"}

    def methods_of_parents(self) -> dict[str, str]:
        """Return role to method of every parent, usual ones too; a role without a usual method is left
        out.
        """
        methods = {**self.make().needs(), **self.parent_methods}
        return {role: method for role, method in methods.items() if role in self.parents}
