"""Recipes as files of the studio's folder, and the command lines that take them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lrfr.core.errors import DataError, LockedError, SpecError
from lrfr.core.files import data_of, write_whole
from lrfr.core.strict_yaml import MAX_BYTES
from lrfr.degrade.spec.resolve import preset_text
from lrfr.studio.asked import Pictures, Save

FALLBACK = "surveillance"


@dataclass(frozen=True)
class Places:
    """What a studio was started with.

    Attributes:
        recipe: a YAML file, or the name of a preset; None for the preset ``surveillance``.
        faces: folder of HR faces; None for the embedded ones.
        target: folder of a camera's crops.
        folder: where recipes are saved and commands run.
        store: of ``make-pairs``.
        can_fit: whether there is a command ``fit``.

    """

    recipe: str | None = None
    faces: Path | None = None
    target: Path | None = None
    folder: Path = field(default_factory=Path.cwd)
    store: Path = Path("store")
    can_fit: bool = False

    def word(self, path: Path) -> str:
        """Return a path as a command that runs in the folder finds it: as it was typed where that is here."""
        here = self.folder.absolute() == Path.cwd()
        return str(path if here else path.absolute())

    @property
    def fits(self) -> bool:
        """Whether ``fit`` has what it needs: clean faces and a camera's crops."""
        return self.can_fit and self.faces is not None and self.target is not None


class RecipeFiles:
    """The recipe files of a studio.

    Args:
        places: what it was started with.

    """

    def __init__(self, places: Places) -> None:
        self._places = places

    def first(self) -> tuple[str, str]:
        """Return (file name, text) of the recipe to start with.

        Raises:
            SpecError: it is neither a file nor a preset.

        """
        recipe = self._places.recipe
        path = Path(recipe or FALLBACK)
        if recipe and path.is_file():
            try:
                text = data_of(path, most=MAX_BYTES).decode("utf-8", "replace")
            except OSError as error:
                raise SpecError(f"cannot read: {error.strerror}", file=recipe) from None
            return path.name, text
        name = path.name.removesuffix(".yaml")
        return f"{name}.yaml", preset_text(name)

    def recipes(self) -> list[str]:
        """Return the recipe files of the folder, by name."""
        kinds = (".yaml", ".yml")
        found = (path for path in self._places.folder.iterdir() if path.suffix in kinds and path.is_file())
        return sorted(path.name for path in found if not path.is_symlink())[:500]

    def open_recipe(self, name: str) -> str:
        """Return the text of a recipe file of the folder.

        Raises:
            DataError: there is none of this name.

        """
        if name not in self.recipes():
            raise DataError(f"no recipe of this name in {self._places.folder}")
        return data_of(self._places.folder / name, most=MAX_BYTES, linked=False).decode("utf-8", "replace")

    def save(self, asked: Save) -> Path:
        """Write a recipe into the folder.

        Raises:
            SpecError: the name is taken by something that is no recipe.
            LockedError: a file of this name is there and is not to be replaced.

        """
        path = self._places.folder / asked.name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise SpecError("the name is taken by something that is no plain file", file=str(path))
        if path.exists() and not asked.replace:
            raise LockedError("a file of this name is there", file=str(path))
        write_whole(path, asked.text.encode())
        return path

    def commands(self, name: str, asked: Pictures) -> Mapping[str, str]:
        """Return the command lines that do with a saved recipe what the page shows."""
        faces = [self._places.word(self._places.faces)] if self._places.faces else []
        limit = [] if faces else ["--limit", str(len(asked.faces))]
        draws = [
            "--variants",
            str(asked.draws),
            *(["--seed", str(asked.seed)] if asked.seed is not None else []),
        ]
        seed = ["--set", f"seed={asked.seed}"] if asked.seed is not None else []
        source = ["--source", *faces] if faces else []
        python = f"lrfr.degrade_images(images, {name!r}, keys=keys, variant={asked.first_variant})"
        return {
            "degrade": shlex.join(["lrfr", "degrade", *faces, "--spec", name, *draws, *limit]),
            "make-pairs": shlex.join(
                ["lrfr", "make-pairs", *source, "--spec", name, "--variants", str(asked.draws), *seed]
            ),
            "python": python,
        }
