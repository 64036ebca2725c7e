"""One file per family of benchmark protocols; :data:`BENCHMARKS` names them all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lrfr.core.errors import EnvironmentFault, LrfrError, SpecError
from lrfr.core.registry import Registry
from lrfr.eval.protocols import attributes, identify, ijb, verification, view_faces
from lrfr.eval.protocols.attributes import (
    LFWA_TREE,
    LIST_TREE,
    SVHN_TREE,
    run_attributes,
    run_svhn,
)
from lrfr.eval.protocols.celeba import CELEBA_TREE, run_celeba_pairs
from lrfr.eval.protocols.celeba import TREE as CELEBA_PAIRS_TREE
from lrfr.eval.protocols.identify import (
    LISTS_TREE,
    TINYFACE_TREE,
    run_lists,
    run_tinyface,
)
from lrfr.eval.protocols.ijb import TREE as IJB_TREE
from lrfr.eval.protocols.ijb import run_ijb
from lrfr.eval.protocols.pair_lists import (
    TSV_TREE,
    XQLFW_TREE,
    bin_tree,
    run_bin_or_folder,
    run_synthetic,
    run_tsv,
    run_xqlfw,
)
from lrfr.eval.protocols.surveillance import survface
from lrfr.eval.protocols.surveillance.scface import SCFACE_TREE, run_scface
from lrfr.eval.protocols.surveillance.survface import TREE as SURVFACE_TREE
from lrfr.eval.protocols.surveillance.survface import run_survface
from lrfr.eval.protocols.view_faces import VIEW_TREE, run_view
from lrfr.eval.results import Result

Run = Callable[..., list[Result]]


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: ``run(data, task)`` reads its distributed layout and returns results.

    A package adds one by an entry point of the group ``lrfr.benchmarks`` that names an object of this class:
    ``my-test = "my_package:MY_TEST"`` where ``MY_TEST = Benchmark("what it measures", run, tree)``.

    Attributes:
        help: one line.
        run: ``run(data, task)``: the path of the data (None where none is needed) and
            :class:`lrfr.eval.settings.Task` to results.
        tree: the files that it expects, for people.
        needs: what the model hands over: ``embeddings`` [N, D], ``attributes`` (logits [N, A]) or ``classes``
            (scores [N, C]).
        needs_data: whether it runs on files.
        aligns: whether its pictures may be photographs whose faces are cut first (``--align``): so of
            benchmarks that verify or identify lists of pictures by lrfr's own protocols.
        revision: to be raised when a number may move; it is in every result's name.

    """

    help: str
    run: Run
    tree: str = ""
    needs: str = "embeddings"
    needs_data: bool = True
    aligns: bool = False
    revision: int = 1


def find_benchmark(name: str) -> Benchmark:
    """Return a benchmark by name.

    Raises:
        SpecError: no such name; the message names the nearest one, and the command that lists them.
        EnvironmentFault: the package that offers it cannot be imported, or offers something else.

    """
    if name == "ls":
        raise SpecError("benchmarks are listed by an option", hint="lrfr eval --list")
    found: object = BENCHMARKS[name]
    if not isinstance(found, Benchmark):
        raise EnvironmentFault(
            f"the entry point of benchmark '{name}' names a {type(found).__name__}",
            hint="it must name a lrfr.eval.protocols.table.Benchmark",
        )
    return found


def listing() -> dict[str, dict[str, str]]:
    """Return help, needs and tree of every benchmark; a plug-in that cannot be loaded says so instead."""
    found = {}
    for name in BENCHMARKS.names():
        try:
            entry = find_benchmark(name)
        except LrfrError as error:
            entry = Benchmark(str(error), run_synthetic, "", "-")
        plugin = " (from an installed package)" if BENCHMARKS.is_plugin(name) else ""
        found[name] = {"help": entry.help + plugin, "needs": entry.needs, "tree": entry.tree}
    return found


def _bin(name: str, text: str) -> Benchmark:
    run = partial(run_bin_or_folder, name=name)
    return Benchmark(text, run, bin_tree(name), aligns=True, revision=verification.REVISION)


def _ijb(name: str, letters: tuple[str, str]) -> Benchmark:
    text = f"{name.upper()}: template verification and identification"
    tree = IJB_TREE.format(name=name, a=letters[0], b=letters[1])
    return Benchmark(text, partial(run_ijb, name=name), tree, revision=ijb.REVISION)


BENCHMARKS: Registry[Benchmark] = Registry(
    "benchmark",
    "lrfr.benchmarks",
    {
        "synthetic": Benchmark(
            "verification on embedded invented faces; needs no data",
            run_synthetic,
            "",
            needs_data=False,
            aligns=True,
            revision=verification.REVISION,
        ),
        "pairs-tsv": Benchmark(
            "verification from a tab-separated list of your own",
            run_tsv,
            TSV_TREE,
            aligns=True,
            revision=verification.REVISION,
        ),
        "identify-tsv": Benchmark(
            "1:N search from gallery, probe and distractor lists of your own",
            run_lists,
            LISTS_TREE,
            aligns=True,
            revision=identify.REVISION,
        ),
        "view": Benchmark(
            "verification and 1:N search on a view of your own: its HR and each of its variants",
            run_view,
            VIEW_TREE,
            revision=view_faces.REVISION,
        ),
        "attributes-csv": Benchmark(
            "attribute accuracy on a list of your own",
            partial(run_attributes, name="attributes-csv"),
            LIST_TREE,
            needs="attributes",
            revision=attributes.REVISION,
        ),
        "lfw": _bin("lfw", "LFW verification, .bin or pairs.txt folder"),
        "cfp-fp": _bin("cfp-fp", "CFP frontal-profile verification, .bin or its Protocol folder"),
        "cfp-ff": _bin("cfp-ff", "CFP frontal-frontal verification, .bin or its Protocol folder"),
        "cplfw": _bin("cplfw", "Cross-Pose LFW verification, .bin or pairs_CPLFW.txt"),
        "calfw": _bin("calfw", "Cross-Age LFW verification, .bin or pairs_CALFW.txt"),
        "agedb-30": _bin("agedb-30", "AgeDB-30 verification, .bin"),
        "xqlfw": Benchmark(
            "Cross-Quality LFW verification, with LFW beside it where present",
            run_xqlfw,
            XQLFW_TREE,
            aligns=True,
            revision=verification.REVISION,
        ),
        "tinyface": Benchmark(
            "TinyFace identification, rank 1/5/10/20 and mAP",
            run_tinyface,
            TINYFACE_TREE,
            aligns=True,
            revision=identify.REVISION,
        ),
        "scface": Benchmark(
            "SCface identification at 4.2, 2.6 and 1.0 m",
            run_scface,
            SCFACE_TREE,
            aligns=True,
            revision=identify.REVISION,
        ),
        "ijbb": _ijb("ijbb", ("S1", "S2")),
        "ijbc": _ijb("ijbc", ("G1", "G2")),
        "survface": Benchmark(
            "QMUL-SurvFace open-set identification and verification",
            run_survface,
            SURVFACE_TREE,
            revision=survface.REVISION,
        ),
        "celeba": Benchmark(
            "CelebA attribute accuracy",
            partial(run_attributes, name="celeba"),
            CELEBA_TREE,
            needs="attributes",
            revision=attributes.REVISION,
        ),
        "celeba-pairs": Benchmark(
            "verification on 10,000 drawn pairs of CelebA's test part",
            run_celeba_pairs,
            CELEBA_PAIRS_TREE,
            aligns=True,
            revision=verification.REVISION,
        ),
        "lfwa": Benchmark(
            "LFWA attribute accuracy",
            partial(run_attributes, name="lfwa"),
            LFWA_TREE,
            needs="attributes",
            revision=attributes.REVISION,
        ),
        "svhn": Benchmark(
            "SVHN digit classification", run_svhn, SVHN_TREE, needs="classes", revision=attributes.REVISION
        ),
    },
)
