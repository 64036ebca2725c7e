"""Which view a model is measured on when none is named: the one that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lrfr.core.errors import DataError, SpecError
from lrfr.pairs.format.remote.address import is_address
from lrfr.pairs.format.store_files import StoreFiles, root_of
from lrfr.pairs.sources.places import place_options

# where commands look for a store, and the view they take, when none is named
STORE, DEFAULT_VIEW = Path("store"), "default"
_OPTIONS = ("view", "split", "trials", "pairs", "hard")


@dataclass(frozen=True)
class ViewWish:
    """What was said of the view to measure on.

    Attributes:
        store: folder of the store; None where none was named.
        view: its name; None where none was named.
        more: of the options of the benchmark ``view`` what else was said.

    """

    store: Path | None = None
    view: str | None = None
    more: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Path | str) -> ViewWish:
        """Return the wish in ``STORE[,view=NAME][,split=NAME]...``.

        Raises:
            SpecError: an unknown option.

        """
        place, given = place_options(str(data), _OPTIONS)
        last = {name: values[-1] for name, values in given.items() if name != "hard"}
        more: dict[str, object] = {name: value for name, value in last.items() if name != "view"}
        return cls(place, last.get("view"), more | ({"hard": given["hard"]} if "hard" in given else {}))

    @property
    def data(self) -> Path:
        """The wish as the data of the benchmark."""
        words = [f",view={self.view or DEFAULT_VIEW}"]
        for name, value in self.more.items():
            words += [f",{name}={one}" for one in (value if isinstance(value, list) else [value])]
        return Path(f"{self.store or STORE}{''.join(words)}")


def fetched_place(data: Path | str) -> Path | str:
    """Return the data of the benchmark ``view`` with the mirror of a store in place of its address.

    Raises:
        SpecError, EnvironmentFault: no store is there, or it cannot be reached.

    """
    if not (isinstance(data, str) and is_address(data)):
        return data
    address, comma, options = data.partition(",")
    return f"{root_of(address)}{comma}{options}"


def with_own_view(model: object, wish: ViewWish) -> tuple[ViewWish, str]:
    """Return the wish with store and view named, and what to say of what was chosen ("" where both were).

    A run or checkpoint is measured on the view that it was trained on; its store is looked for here, then
    beside the folder of runs. Other models, and those whose view is gone, get the view ``default``.

    Raises:
        SpecError: no store or no such view is there, and which views are.

    """
    if wish.store is not None and wish.view is not None:
        return wish, ""
    trained = _trained_on(model)
    beside = [trained.run.parent.parent / STORE] if trained else []
    places = [wish.store] if wish.store else [STORE, *beside]
    stores = [place for place in dict.fromkeys(places) if place.is_dir()]
    if not stores:
        raise SpecError(
            "there is no store here",
            file=str(places[0]),
            hint="lrfr make-pairs writes one; --store names another",
        )
    if wish.view is not None:
        holding = [place for place in stores if wish.view in StoreFiles(place).views()]
        store = (holding or stores)[0]
        StoreFiles(store).view(wish.view)
        return ViewWish(store, wish.view, wish.more), f"measuring on view '{wish.view}' of {store}"
    for place, name in _views(stores, trained.view if trained else ""):
        told = f"measuring on view '{name}' of {place}, on which {model} was trained"
        return ViewWish(place, name, wish.more), told
    StoreFiles(stores[0]).view(DEFAULT_VIEW)
    why = f"; the view that {model} was trained on is not there" if trained else ""
    told = f"measuring on view '{DEFAULT_VIEW}' of {stores[0]}{why}"
    return ViewWish(stores[0], DEFAULT_VIEW, wish.more), told


def _views(stores: list[Path], digest: str) -> Iterator[tuple[Path, str]]:
    """Yield the views that are, or were under an older version of lrfr, the one of a digest."""
    for place in stores:
        files = StoreFiles(place)
        for name in files.views() if digest else []:
            view = files.view(name)
            if digest in {view.id, *view.former}:
                yield place, name


@dataclass(frozen=True)
class _Trained:
    run: Path
    view: str


def _trained_on(model: object) -> _Trained | None:
    """Return the run of a checkpoint and the id of its view; None of what has none."""
    if not isinstance(model, str | Path) or not Path(model).is_dir():
        return None
    from lrfr.train.checkpoint import read_manifest, resolve

    try:
        folder = resolve(Path(model))
        view = read_manifest(folder).identity.get("view")
    except DataError:  # said where the model is opened
        return None
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    return _Trained(run.absolute(), view) if isinstance(view, str) else None
