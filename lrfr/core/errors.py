"""Typed errors of lrfr: each says where it happened, what was expected, and has the exit code of its kind."""

from __future__ import annotations

import difflib
import operator
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType


class LrfrError(Exception):
    """Base of every error that lrfr raises on purpose.

    Attributes:
        message: one sentence: what is wrong.
        file: file the error was found in, as the user named it.
        line: 1-based line in ``file``, where known.
        column: 1-based column in ``file``, where known.
        path: place inside a document or store, for example ``pipeline[2].quality`` or ``hr-00003.mdb row
            17``.
        hint: what to do about it, for example ``did you mean 'sigma'?``.

    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        path: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.file = file
        self.line = line
        self.column = column
        self.path = path
        self.hint = hint

    def __str__(self) -> str:
        place = ":".join(_cut(part) for part in (self.file, self.line, self.column) if part is not None)
        parts = [_cut(part) for part in (place, self.path, self.message) if part]
        text = ": ".join(parts)
        return f"{text} ({self.hint})" if self.hint else text

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way back from a worker process with every attribute."""
        return (_rebuild, (type(self), self.message, self.as_dict()))

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form used by ``--json``."""
        return {
            "type": type(self).__name__,
            "message": self.message,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "hint": self.hint,
        }


def _cut(part: object, most: int = 5000) -> str:
    """Return a part of a message; of one that somebody made without end, its ends."""
    text = str(part)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 4 :]}"


def _rebuild(kind: type[LrfrError], message: str, fields: dict[str, object]) -> LrfrError:
    error = kind(message)
    for name in ("file", "line", "column", "path", "hint"):
        setattr(error, name, fields[name])
    return error


class SpecError(LrfrError):
    """A spec, recipe or argument is malformed (exit code 2)."""

    exit_code = 2


class DataError(LrfrError):
    """Data is damaged or below a threshold (exit code 3)."""

    exit_code = 3


REASONS = {
    "E_EMPTY": "the file has no bytes",
    "E_READ": "the file cannot be read",
    "E_NOTFILE": "not a regular file",
    "E_FORMAT": "not a picture of a format that is read",
    "E_CODEC": "no codec for this kind of picture is installed",
    "E_SAMPLES": "its samples cannot be brought to 8 bits RGB",
    "E_BOMB": "more pixels or bytes than the cap",
    "E_SIZE": "a side is too small",
    "E_ASPECT": "too elongated for a face crop",
    "E_TRUNCATED": "the file ends early or is damaged",
    "E_CHANGED": "the file changed while it was being read",
    "E_SHAPE": "not the size that the store needs",
    "E_LABEL": "the label is missing or not a number",
    "E_LANDMARK": "no usable landmarks for this face",
    "E_NO_FACE": "no face was found in the photograph",
    "E_KEY": "several different faces have this key",
    "E_LINE": "the line or row cannot be read",
    "E_NAME": "the name leads out of its folder or archive",
    "E_SLOW": "it takes longer than a picture may",
    "E_RECORD": "its record is not what its source says",
}


class ImageFault(DataError):
    """One image was refused; ``code`` is a key of :data:`REASONS`."""

    def __init__(self, code: str, detail: str = "", **place: object) -> None:
        super().__init__(f"{code}: {REASONS[code]}" + (f" ({detail})" if detail else ""), **place)  # type: ignore[arg-type]
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        """Survive the way back from a worker process with every attribute."""
        return (type(self), (self.code, self.detail), self.__dict__)


class LockedError(LrfrError):
    """Another process holds the output (exit code 4)."""

    exit_code = 4


class EnvironmentFault(LrfrError):
    """Disk, permission or a missing optional package stops the work (exit code 5)."""

    exit_code = 5


class NumericFault(LrfrError):
    """NaN or infinity appeared in a computation (exit code 6)."""

    exit_code = 6


# what errors that nobody has caught mean; by name, so that no library is imported for it. Others are bugs.
FOREIGN: Mapping[str, type[LrfrError]] = {
    "builtins.MemoryError": EnvironmentFault,
    "builtins.RecursionError": DataError,
    "builtins.UnicodeError": DataError,
    "builtins.FloatingPointError": NumericFault,
    "concurrent.futures.process.BrokenProcessPool": EnvironmentFault,
    "cv2.error": DataError,
    "json.decoder.JSONDecodeError": DataError,
    "lmdb.Error": DataError,
    "lmdb.DiskError": EnvironmentFault,
    "lmdb.MapFullError": EnvironmentFault,
    "lmdb.MemoryError": EnvironmentFault,
    "lmdb.ReadersFullError": EnvironmentFault,
    "lzma.LZMAError": DataError,
    "_lzma.LZMAError": DataError,
    "numpy.linalg.LinAlgError": NumericFault,
    "onnxruntime.capi.onnxruntime_pybind11_state.EPFail": EnvironmentFault,
    "onnxruntime.capi.onnxruntime_pybind11_state.Fail": DataError,
    "onnxruntime.capi.onnxruntime_pybind11_state.InvalidArgument": DataError,
    "onnxruntime.capi.onnxruntime_pybind11_state.InvalidGraph": DataError,
    "onnxruntime.capi.onnxruntime_pybind11_state.InvalidProtobuf": DataError,
    "onnxruntime.capi.onnxruntime_pybind11_state.RuntimeException": DataError,
    "PIL.Image.DecompressionBombError": DataError,
    "pyarrow.lib.ArrowException": DataError,
    "pydantic_core._pydantic_core.ValidationError": DataError,
    "ray.exceptions.RayError": EnvironmentFault,
    "safetensors_rust.SafetensorError": DataError,
    "safetensors._safetensors_rust.SafetensorError": DataError,
    "struct.error": DataError,
    "subprocess.SubprocessError": EnvironmentFault,
    "tarfile.TarError": DataError,
    "torch.OutOfMemoryError": EnvironmentFault,
    "torch.cuda.OutOfMemoryError": EnvironmentFault,
    "torch.AcceleratorError": EnvironmentFault,
    "xml.etree.ElementTree.ParseError": DataError,
    "yaml.error.YAMLError": SpecError,
    "zipfile.BadZipFile": DataError,
    "zlib.error": DataError,
    "zstandard.backend_c.ZstdError": DataError,
    "zstd.ZstdError": DataError,  # its name up to zstandard 0.23
}


def as_fault(error: BaseException) -> LrfrError | None:
    """Return an error of a library as what it means by :data:`FOREIGN`, the nearest class counting, one of
    the system as the environment's; None for a bug of ours.
    """
    if isinstance(error, LrfrError):
        return error
    if isinstance(error, OSError):
        return EnvironmentFault(error.strerror or str(error), file=str(error.filename or "") or None)
    for kind in type(error).__mro__:
        found = FOREIGN.get(f"{kind.__module__}.{kind.__qualname__}")
        if found:
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
            name = type(error).__name__
            message = "out of memory" if "Memory" in name else f"{name}: {said}" if said else name
            return found(message[:500])
    return None


def missing_extra(package: str, extra: str) -> EnvironmentFault:
    """Return the error for an optional package that is not installed."""
    return EnvironmentFault(f"this needs the package '{package}'", hint=f"pip install 'lrfr[{extra}]'")


def as_path(value: object, what: str) -> Path:
    """Return an argument that names a file or folder as a path.

    Raises:
        SpecError: it is none.

    """
    if isinstance(value, str) and "://" in value:
        raise SpecError(f"expected the path of {what}, got an address, which is only read", file=value[:200])
    try:
        path = Path(value)  # type: ignore[arg-type]
        os.fsencode(path)
        if value == "":  # a shell's unset variable, not the current folder
            raise ValueError
    except (TypeError, ValueError):
        raise SpecError(f"expected the path of {what}, got {shortly(value)}") from None
    # longer ones end in an error of the system wherever they are first looked at
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if "\0" in str(path) or longest > 255 or len(os.fsencode(path)) > 4095:
        raise SpecError(f"expected the path of {what}, got {shortly(value)}")
    return path


def as_count(value: object, what: str, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return an argument that is a whole number of ``least`` or more, at most ``most``.

    Raises:
        SpecError: it is none.

    """
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        upper = "" if number < least else f", at most {most}"
        raise SpecError(f"expected {what}: a whole number of {least} or more{upper}, got {shortly(value)}")
    return number


def check_flags(**flags: object) -> None:
    """Refuse arguments that are neither True nor False.

    Raises:
        SpecError: one is something else; names it.

    """
    for name, value in flags.items():
        if type(value) is not bool and type(value).__name__ != "bool_":  # numpy's own has no common base
            raise SpecError(f"expected {name}: True or False, got {shortly(value)}")


def check_kind(value: object, kind: type | UnionType, what: str) -> None:
    """Refuse an argument that is not of one of the types.

    Raises:
        SpecError: it is something else.

    """
    if not isinstance(value, kind):
        raise SpecError(f"expected {what}, got {shortly(value)}")


def shortly(value: object) -> str:
    """Return a value for a message: its text where it is short, and its type."""
    text = repr(value) if isinstance(value, str | bytes | int | float) else ""
    return f"{type(value).__name__} {text}".strip() if len(text) <= 60 else f"a long {type(value).__name__}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` plus the known names, for an unknown ``word``: the nearest in letters,
    else one that begins it or begins with it (``turbulence``: ``turb``).
    """
    names, text = sorted(known), str(word)
    close = difflib.get_close_matches(text, names, n=1, cutoff=0.6) or [
        name
        for name in names
        if len(text) > 2 < len(name) and (text.startswith(name) or name.startswith(text))
    ]
    listing = f"known: {', '.join(names)}" if names else "there is none"
    return f"did you mean '{close[0]}'? {listing}" if close else listing
