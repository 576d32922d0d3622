"""The front end at `/` and `/ui/`: the page in `page/`, or the operator's own.

The page is a handful of small files, kept in memory without their comments and indentation, which are for who
reads the source. They are asked for with their tags each time, so that an upgrade shows at once. Another front
end is a folder that its build made, read from disk.
"""

from __future__ import annotations

import os
import re
from hashlib import blake2b
from pathlib import Path
from string import ascii_letters
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from plugvisor.api.responses import REVALIDATE
from plugvisor.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from starlette.requests import Request
    from starlette.routing import BaseRoute

PAGE_DIR = Path(__file__).parents[1] / "page"
INDEX = "index.html"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"  # no string becomes markup, by whatever mistake
)
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}

# `index-DiwrgTda.js`, `main.3f2a1b4c.css`: a digit and a letter, or capitals, after the last `-` or `.`
_HASHED = re.compile(r"[-.](?!\d+x\d+\.)(?=\w*(?:\d|[A-Z]))(?=\w*[A-Za-z])\w{8,}\.\w+(?:\.map)?$", re.ASCII)


def make_page_routes(page_dir: Path | None) -> list[BaseRoute]:
    """The routes of the page, or of the front end in `page_dir`; raises `ConfigurationError` as `check_page_dir`."""
    to_ui = Route("/ui", _redirect)
    if page_dir is not None:
        check_page_dir(page_dir)
        return [Route("/", _redirect), to_ui, Mount("/ui", BuiltPage(directory=page_dir))]
    page = Page()
    return [
        Route("/", page.show_root),
        to_ui,
        Route("/ui/", page.show_file),
        Route("/ui/{name}", page.show_file),
    ]


def check_page_dir(page_dir: Path) -> None:
    """Raise `ConfigurationError` unless the folder holds a front end."""
    if not (os.path.isfile(page_dir / INDEX) and os.access(page_dir / INDEX, os.R_OK)):
        raise ConfigurationError(
            f"cannot use PLUGVISOR_PAGE_DIR {str(page_dir)!r}: there is no {INDEX} in it that can be read; "
            "name the folder that the front end's build made"
        )


async def _redirect(_request: Request) -> Response:
    return RedirectResponse("ui/")


class Page:
    """The page that comes with Plugvisor."""

    def __init__(self) -> None:
        paths = [path for path in PAGE_DIR.iterdir() if path.suffix in _TYPES]
        self._files = {path.name: _File(make_lean(path), path.suffix) for path in paths}
        # Its addresses are relative, so that a proxy may put all of Plugvisor below a path of its own. From
        # `/` they lead through `ui/`.
        index = make_lean(PAGE_DIR / INDEX)
        self._root = _File(index.replace(b'="./', b'="./ui/'), ".html")

    async def show_root(self, request: Request) -> Response:
        """The page at `/`."""
        return self._root.respond(request)

    async def show_file(self, request: Request) -> Response:
        """The page, or one of its files."""
        file = self._files.get(request.path_params.get("name", INDEX))
        if file is None:
            raise HTTPException(404)
        return file.respond(request)


def make_lean(path: Path) -> bytes:
    """A file of the page without what a browser has no use for: comments, blanks, and the length of some names.

    No minifier: it relies on how these files are written. In a script every statement ends with a semicolon or a
    brace, a slash that divides is followed by a blank, and a template is at most within one other. What is declared at
    a line's beginning, not exported, and has a capital letter in its name after the first is renamed: no property may
    have that name, and no string may contain it.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".js":
        text = _TOKEN.sub(lambda token: "" if token["comment"] else token[0], text)
        text = _shorten_names(text, "#", re.findall(r"this\.#(\w+)", text))
        text = _shorten_names(text, _NO_PROPERTY, re.findall(r"\w+[A-Z_]\w*", " ".join(_DECLARED.findall(text))), "$")
        text = _TOKEN.sub(_make_token_lean, text)
    elif path.suffix == ".css":
        # what one sheet defines others use
        defined = (PAGE_DIR / "style.css").read_text(encoding="utf-8") + text
        text = _shorten_names(text, "--", re.findall(r"--(\w+)", defined))
    for pattern, replacement in _LEAN.get(path.suffix, []):
        text = pattern.sub(replacement, text)
    return text.encode()


_DECLARED = re.compile(r"^(?:const|let|function|async function) (\w+|\[[\w, ]+\])(?= =|\()", re.MULTILINE)
_NO_PROPERTY = r"(?<!(?<!\.\.)\.)"  # three dots are a spread
_TOKEN = re.compile(
    r"""
    (?P<comment> [ ]*//[^\n]* | /\*.*?\*/ )
    | (?P<text>
        "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*'
        | `(?:[^`\\$]|\\.|\$(?!\{)|\$\{(?:[^{}`]|`[^`]*`|\{[^{}]*\})*\})*`
        | /(?=\S)(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/  # a regular expression
      )
    | (?P<code> (?:[^"'`/]|/(?=[ ]))+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLANKS = [
    (re.compile(r"\n\s*"), "\n"),
    (re.compile(r" ?([-=+*/<>?:,|&%!;]+) (?![-+])"), r"\1"),
    (re.compile(r" (?=[=?]|&&|\|\|)|(?<=[{})]) | (?=[{}(\[])"), ""),
    (re.compile(r"(?<=[\[({},;])\n| +\Z"), ""),
    (re.compile(r"[,;]\n?(?=\})|,\n?(?=[\])])"), ""),
    (re.compile(r"\bconst\b"), "let"),
    (re.compile(r"(?<!export )(?<![\w(])(let\b[^;{}\n]*);let (?=[\w$])"), r"\1,"),
    (re.compile(r"(?<=[:,]) (?=-)"), ""),
    (re.compile(r"\bundefined\b"), "void 0"),
    (re.compile(r"\btrue\b"), "!0"),
    (re.compile(r"\bfalse\b"), "!1"),
    (re.compile(r"(?<![\w#])\((\w+)\)=>"), r"\1=>"),
]


def _make_token_lean(token: re.Match[str]) -> str:
    text = token[0]
    if token.lastgroup == "code":
        for pattern, replacement in _BLANKS:
            text = pattern.sub(replacement, text)
    return text


def _shorten_names(text: str, prefix: str, names: list[str], short_prefix: str = "") -> str:
    """Replace these names, each of which stands behind the prefix, by letters; those in quotes are left.

    Args:
        prefix: an expression.
        short_prefix: stands before the letter, in place of the prefix.
    """
    letters = dict(zip(dict.fromkeys(names), ascii_letters, strict=False))

    def shorten(match: re.Match[str]) -> str:
        letter = letters.get(match[1])
        return match[0] if letter is None else f"{short_prefix or prefix}{letter}"

    return re.sub(rf"""(?<![\w"'`]){prefix}(\w+)""", shorten, text)


_LEAN = {
    ".html": [
        (re.compile(r"<!--.*-->"), ""),
        (re.compile(r"\n\s*"), ""),
        (re.compile(r'="([\w.-]+)"(?=[ >])'), r"=\1"),  # not before a slash, which would be part of the value
    ],
    ".css": [
        (re.compile(r"/\*.*?\*/\n", re.DOTALL), ""),
        (re.compile(r"\s*([{};,>+/])\s*"), r"\1"),
        (re.compile(r": "), ":"),
        (re.compile(r";\}"), "}"),
        (re.compile(r'="([a-z]+)"'), r"=\1"),
    ],
}


class _File:
    def __init__(self, body: bytes, suffix: str) -> None:
        self._body = body
        self._etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
        self._headers = {"Content-Type": _TYPES[suffix], "ETag": self._etag, **REVALIDATE, **_SAFE}
        if suffix == ".html":
            self._headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY

    def respond(self, request: Request) -> Response:
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
        if self._etag in known:
            return Response(status_code=304, headers={"ETag": self._etag, **REVALIDATE})
        return Response(self._body, headers=self._headers)


class BuiltPage(StaticFiles):
    """A single-page application: its index answers for every path that is no file, for the path is the application's.

    A file whose name holds a hash of its content is kept by browsers for a year; everything else, the index above
    all, is asked for anew each time. Links that lead out of the folder are not followed.
    """

    async def get_response(self, path: str, scope: MutableMapping[str, Any]) -> Response:
        """Answer with the file or the index."""
        headers = _FOR_EVER if _HASHED.search(path) else REVALIDATE
        try:
            response = await super().get_response(path, scope)
        except (HTTPException, OSError) as error:
            # an asset of an earlier build is gone: with the index in its place the browser would run markup as a script
            if headers is _FOR_EVER or getattr(error, "status_code", 0) == 405:
                raise
            response = await super().get_response(INDEX, scope)
        response.headers.update({**headers, **_SAFE})
        return response
