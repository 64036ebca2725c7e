"""What a request may ask for: every body of the HTTP interface as a strict model, with its caps."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lrfr.core.errors import LrfrError, SpecError
from lrfr.core.files import parsed
from lrfr.core.streams import MAX_VARIANT
from lrfr.core.strict_yaml import MAX_BYTES

MAX_FACES, MAX_DRAWS, MAX_EDITS = 48, 12, 64
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Index = Annotated[int, Field(ge=0, le=10_000)]
Place = Annotated[list[Annotated[str, Field(max_length=200)] | Index], Field(max_length=40)]
Text = Annotated[str, Field(max_length=MAX_BYTES)]
Seed = Annotated[int, Field(ge=0, lt=2**64)]


Body = TypeVar("Body", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Edit(_Body):
    """One change of a recipe.

    Attributes:
        do: ``set`` a value at a place, ``remove`` what is there, ``insert`` a step into the list at a place,
            or ``move`` the step at a place into the list ``to``.
        place: keys and indices from the top, as in ``["pipeline", 2, "quality"]``.
        value: of ``set`` and ``insert``.
        to: list that a step moves into; ``place`` names where it is before the move, ``to`` after it was
            taken out.
        index: place in that list, from 0.

    """

    do: Literal["set", "remove", "insert", "move"]
    place: Place
    value: Any = None
    to: Place | None = None
    index: Index = 0


class Recipe(_Body):
    """A recipe's text and what to change in it first."""

    text: Text
    edits: Annotated[list[Edit], Field(max_length=MAX_EDITS)] = []


class Pictures(Recipe):
    """Which degraded faces to make.

    Attributes:
        tab: name of the page that asks; a later request of the same tab ends an earlier one.
        number: of the request in its tab, rising.
        faces: numbers of faces, or ids of uploaded ones.
        draws, first_variant: how many variants of each face, from which on.
        seed: in place of the recipe's.
        hr: send the HR faces too.
        measures: send statistics and cost too.
        form: ``stream`` of frames, or one ``json`` object with PNGs in base64 and digests.

    """

    tab: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")] = "script"
    number: Annotated[int, Field(ge=0, lt=2**53)] = 0
    faces: Annotated[list[Index | Annotated[str, Field(max_length=64)]], Field(max_length=MAX_FACES)]
    draws: Annotated[int, Field(ge=1, le=MAX_DRAWS)] = 1
    first_variant: Annotated[int, Field(ge=0, le=MAX_VARIANT - MAX_DRAWS)] = 0
    seed: Seed | None = None
    hr: bool = False
    measures: bool = False
    form: Literal["stream", "json"] = "stream"


class OneFace(Recipe):
    """One face and variant, for its trace."""

    face: Index | Annotated[str, Field(max_length=64)]
    variant: Annotated[int, Field(ge=0, le=MAX_VARIANT)] = 0
    seed: Seed | None = None


class Against(Recipe):
    """A preset to compare with."""

    preset: Annotated[str, Field(max_length=100)]


class Named(_Body):
    """The name of a preset or of a recipe file."""

    name: Annotated[str, Field(max_length=100)]


class Save(_Body):
    """A recipe to write.

    Attributes:
        name: file name, without folders, that ends in ``.yaml``.
        text: of the recipe.
        replace: whether a file of that name may be replaced.

    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.ya?ml$")]
    text: Text
    replace: bool = False


class Start(_Body):
    """A command to start.

    Attributes:
        kind: ``make-pairs`` or ``fit``.
        text: the recipe (``make-pairs`` only).
        view: name of the view that is written.
        variants: LR images for each face, in place of the recipe's.
        budget: minutes that ``fit`` may take on one core.

    """

    kind: Literal["make-pairs", "fit"]
    text: Text = ""
    view: Annotated[str, Field(pattern=NAME)] = "studio"
    variants: Annotated[int, Field(ge=1, le=1000)] | None = None
    budget: Annotated[float, Field(ge=0.2, le=10_000)] = 10.0


def read_body(kind: type[Body], data: bytes) -> Body:
    """Return a request's JSON body.

    Raises:
        SpecError: it is no JSON of this form; says where.

    """
    try:
        return kind.model_validate(parsed(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SpecError(f"{place or 'the body'}: {first['msg']}", file="request") from None
    except LrfrError:
        raise
    except (ValueError, RecursionError) as error:
        raise SpecError(f"not JSON: {error}", file="request") from None
