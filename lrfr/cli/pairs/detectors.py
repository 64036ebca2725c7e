"""``lrfr detectors``: what finds faces, and how to get it."""

from __future__ import annotations

from dataclasses import asdict

import click

from lrfr.cli.output import Output, command


@click.group("detectors", short_help="What finds faces, and how to get it.")
def detectors_group() -> None:
    """What finds faces in photographs, and how to get it.

    \b
    Examples:
      lrfr detectors ls
      lrfr detectors fetch
    """


@command("ls", short_help="List the detectors and whether they are ready.")
def ls(out: Output) -> dict[str, object]:
    """List the detectors, whether each is ready here, and its weights' digest.

    \b
    Example:
      lrfr detectors ls
    """
    from lrfr.pairs.align.detectors.table import detector_states

    states = detector_states()
    rows = [[one.name, one.revision or None, one.weights_sha256[:12] or None, one.help] for one in states]
    out.table(["detector", "revision", "weights", "what"], rows)
    out.lines(f"{state.name}: {state.missing}" for state in states if state.missing)
    return {"detectors": [asdict(state) for state in states]}


@command("fetch", short_help="Bring the weights of mtcnn by pip.")
def fetch(out: Output) -> dict[str, object]:
    """Download the one wheel that carries MTCNN's nets into lrfr's data folder and check its sha256.

    It is the wheel of facenet-pytorch 2.6.0 (MIT, 2 MB), without its dependencies; it is neither installed
    nor imported. The folder is $LRFR_DATA, else lrfr in the user's data folder.

    \b
    Example:
      lrfr detectors fetch
    """
    from lrfr.pairs.align.detectors.detector_weights import fetch_wheel

    place = fetch_wheel()
    out.say(f"mtcnn is ready: {place}")
    return {"file": str(place)}


detectors_group.add_command(ls)
detectors_group.add_command(fetch)
