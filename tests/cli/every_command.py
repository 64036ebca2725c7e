"""Every command of the CLI by its words, those behind the words of others too."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache

import click

from lrfr.cli.degrade.degrade import MOUNTED
from lrfr.cli.main import cli

Words = tuple[str, ...]


@cache
def every_command() -> dict[Words, click.Command]:
    """Return words to command, in the order of the help."""
    found = dict(_below(cli, ()))
    for word, (module, attribute) in MOUNTED.items():
        found["degrade", word] = getattr(importlib.import_module(module), attribute)
    return found


def _below(command: click.Command, words: Words) -> Iterator[tuple[Words, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, (*words, name)
            yield from _below(found, (*words, name))
    if words and (not isinstance(command, click.Group) or command.invoke_without_command):
        yield words, command
