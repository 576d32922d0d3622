"""The page's files as they are served, and another front end in its place."""

from __future__ import annotations

import asyncio
import functools
import os
import re
from typing import TYPE_CHECKING

import httpx
import pytest
from plugvisor.api.http.static import PAGE_DIR, make_lean, make_page_routes
from plugvisor.api.problems import respond_to_error
from plugvisor.errors import ConfigurationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_BYTES = 80_000
"""Identities, the journal and intents have taken an eighth of what there was before."""
LARGEST_LATER_BYTES = 40_000
"""Of what only admins need; a browser fetches it once one has signed in, or has opened one of its dialogs."""

LARGEST_PLUGIN_BYTES = 6_000
"""Of what only a plugin's own view needs; a browser fetches it once one is opened."""
PLUGIN_FILES = {"facts.js"}

LARGEST_CLUSTER_BYTES = 6_500
"""Of what only a swarm has; a browser fetches it once the service has named nodes."""


def make_app(page_dir: Path | None) -> Starlette:
    """An application that serves nothing but a page."""
    app = Starlette(routes=make_page_routes(page_dir), exception_handlers={HTTPException: respond_to_error})
    app.router.redirect_slashes = False
    return app


OWN_PAGE = make_app(None)
"""Made once: it makes every file of the page smaller and compresses it."""


def get(path: str, page_dir: Path | None = None, **headers: str) -> httpx.Response:
    """One answer; the path is sent as it is written."""
    app = OWN_PAGE if page_dir is None else make_app(page_dir)

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://plugvisor") as client:
            url = client.base_url.copy_with(raw_path=path.encode())
            return await client.get(url, headers=headers)

    return asyncio.run(ask())


# -- the page


def test_the_page_is_small() -> None:
    """Everything that a browser fetches, uncompressed."""
    index = get("/ui/").text
    modules = find_modules({"main.js"})
    first = {*re.findall(r'"\./([\w.]+)"', index), *modules, "index.html"}
    later = find_later(modules) - first
    files = {path.name for path in PAGE_DIR.iterdir()}
    assert first | later == files, "nothing is served that is not used"
    sizes = {name: len(get("/ui/" if name == "index.html" else f"/ui/{name}").content) for name in files}
    assert sum(sizes[name] for name in first) < LARGEST_BYTES, sizes
    assert later, "what only admins need is fetched later"
    of_cluster = {name for name in later if name.startswith("cluster")}
    assert sum(sizes[name] for name in later - of_cluster - PLUGIN_FILES) < LARGEST_LATER_BYTES, sizes
    assert sum(sizes[name] for name in later & PLUGIN_FILES) < LARGEST_PLUGIN_BYTES, sizes
    assert 0 < sum(sizes[name] for name in of_cluster) < LARGEST_CLUSTER_BYTES, sizes


def find_modules(modules: set[str]) -> set[str]:
    """These modules and all that they import at once."""
    while new := find_names(r'from"\./([\w.]+)"', modules) - modules:
        modules = modules | new
    return modules


def find_later(modules: set[str]) -> set[str]:
    """What these modules fetch when it is needed, with all that this imports or fetches."""
    later: set[str] = set()
    while new := find_names(r'(?:import\(|new URL\()"\./([\w.]+)"', modules | later) - later:
        later = find_modules(later | new)
    return later


def find_names(pattern: str, modules: set[str]) -> set[str]:
    scripts = [name for name in modules if name.endswith(".js")]
    return {name for module in scripts for name in re.findall(pattern, read_served(module))}


@functools.cache
def read_served(module: str) -> str:
    """A module as a browser gets it; each is asked for once, since the walk comes back to it often."""
    return get(f"/ui/{module}").text


def test_it_needs_nothing_else() -> None:
    for path in PAGE_DIR.iterdir():
        addresses = re.findall(r"https?://[^\s\"'<>)]+", path.read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, path.name


@pytest.mark.parametrize("path", ["/", "/ui/"])
def test_the_index(path: str) -> None:
    response = get(path)
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    policy = response.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in "".join(policy)
    for address in re.findall(r'(?:src|href)="([^"#]+)"', response.text):
        assert get(str(httpx.URL(f"http://plugvisor{path}").join(address).path)).status_code == 200, address


def test_what_is_known_is_not_sent_again() -> None:
    first = get("/ui/main.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    again = get("/ui/main.js", **{"If-None-Match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert get("/ui/main.js", **{"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["/ui/nothing.js", "/ui/../static.py", "/ui/%2e%2e/static.py", "/ui/a/b", "/ui/%00"])
def test_there_is_nothing_else(path: str) -> None:
    response = get(path)
    assert response.status_code == 404
    assert response.json()["code"] == "not_found"


def test_the_address_without_a_slash() -> None:
    response = get("/ui")
    assert response.status_code == 307
    assert response.headers["location"] == "ui/"


def test_what_is_left_out_is_comments_blanks_and_long_names(tmp_path: Path) -> None:
    script = tmp_path / "x.js"
    script.write_text(
        "const MOST = 2;\nconst [WIDE, HIGH] = [3, 4];\nexport const KEPT = -WIDE;\n"
        "function makeIt(most) {\n  return [...HIGH, most.makeIt, KEPT];\n}\n"
        "for (const one of HIGH) f(one);\nconst low = undefined;\nconst all = [low, -1];\n"
        "/** What. */\n/**\n * Why.\n */\nexport const f = (a) => {\n  // why\n"
        '  return a / 2 + " // b, c"; // it\'s so\n};\n'
        'class A {\n  #long = /a, "[/] b/;\n\n  // HIGH\n  get it() {\n'
        '    return `a, ${this.#long ? `b = ${f(1, HIGH)}` : "#long"}`;\n  }\n}\n'
    )
    lean = (
        "let $a=2;let[$b,$c]=[3,4];export let KEPT= -$b;"
        "function $d(most){return[...$c,most.makeIt,KEPT]}"
        "for(let one of $c)f(one);let low=void 0,all=[low,-1];"
        'export let f=a=>{return a/2+" // b, c"};class A{#a=/a, "[/] b/;get it(){'
        'return`a, ${this.#a ? `b = ${f(1, $c)}` : "#long"}`}}'
    )
    assert make_lean(script).decode().split() == lean.split()
    sheet = tmp_path / "x.css"
    sheet.write_text('/* what */\n.a, .b > [c="d"] {\n  color: red;\n}\n')
    assert make_lean(sheet) == b".a,.b>[c=d]{color:red}"


# -- another front end


@pytest.fixture
def built(tmp_path: Path) -> Path:
    folder = tmp_path / "dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>the index")
    (folder / "assets" / "index-DiwrgTda.js").write_text("hashed")
    (folder / "assets" / "logo-1920x1080.png").write_text("a size, no hash")
    (folder / "favicon.ico").write_text("icon")
    (tmp_path / "secret").write_text("a secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "unreadable").symlink_to(folder / "unreadable")
    os.mkfifo(folder / "pipe")
    return folder


@pytest.mark.parametrize("path", ["/ui/", "/ui/index.html", "/ui/plugins/42", "/ui/assets", "/ui/assets/"])
def test_the_index_answers_for_every_path(built: Path, path: str) -> None:
    response = get(path, built)
    assert (response.status_code, response.text) == (200, "<!doctype html>the index")
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_assets_with_a_hash_are_kept_long(built: Path) -> None:
    hashed = get("/ui/assets/index-DiwrgTda.js", built)
    assert (hashed.status_code, hashed.text) == (200, "hashed")
    assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
    for path in ("/ui/favicon.ico", "/ui/assets/logo-1920x1080.png"):
        assert get(path, built).headers["cache-control"] == "no-cache"
    gone = get("/ui/assets/index-Ab12Cd34.js", built)
    assert gone.status_code == 404, "the index is no script"
    assert "immutable" not in gone.headers.get("cache-control", "")
    etag = get("/ui/", built).headers["etag"]
    assert get("/ui/", built, **{"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(
    "path",
    [
        "/ui/../secret", "/ui/%2e%2e/secret", "/ui/..%2fsecret", "/ui//etc/passwd", "/ui/%2fetc%2fpasswd", "/ui/link",
        "/ui/%00", "/ui/unreadable", "/ui/pipe", f"/ui/{'x' * 300}", "/ui/%5c..%5csecret", "/ui/%ff",
    ],
)  # fmt: skip
def test_nothing_outside_is_reached(built: Path, path: str) -> None:
    response = get(path, built)
    assert "secret" not in response.text
    assert "root:" not in response.text
    assert (response.status_code, response.text) == (200, "<!doctype html>the index") or response.status_code == 404


def test_it_has_the_root_too(built: Path) -> None:
    for path in ("/", "/ui"):
        assert get(path, built).headers["location"] == "ui/"


def test_other_methods_are_refused(built: Path) -> None:
    for page_dir in (None, built):
        app = Starlette(routes=make_page_routes(page_dir), exception_handlers={HTTPException: respond_to_error})

        async def ask(app: Starlette = app) -> httpx.Response:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://plugvisor") as client:
                return await client.post("/ui/")

        assert asyncio.run(ask()).status_code == 405


def test_a_folder_without_an_index(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot use PLUGVISOR_PAGE_DIR .*no index\.html"):
        make_page_routes(tmp_path)
