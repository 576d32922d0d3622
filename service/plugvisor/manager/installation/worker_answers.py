"""The answers of a worker of the install folder (`installer/protocol.py`); unknown members are ignored."""

import msgspec


class AnsweredError(msgspec.Struct):
    """Why a request was not done."""

    code: str
    message: str
    entry: str | None = None
    log: list[str] = []


class Answer(msgspec.Struct):
    """One line: something that a build has said, or what came of a request."""

    line: str | None = None
    ok: msgspec.Raw = msgspec.Raw()
    error: AnsweredError | None = None


class UnpackedAnswer(msgspec.Struct):
    """The answer to `unpack`; the manifest is in base64."""

    staged: str
    manifest: str
    entries: int
    size_bytes: int


class Built(msgspec.Struct):
    """The answer to `build`: whether there is an environment, and its Python's version."""

    environment: bool
    python: str


class Tidied(msgspec.Struct):
    """A plugin that was recovered."""

    id: str
    went_back: bool
    """Whether an update that had not been confirmed was undone."""


class TidiedAnswer(msgspec.Struct):
    """The answer to `tidy`."""

    plugins: list[Tidied]


class Done(msgspec.Struct):
    """The answer to any other request."""
