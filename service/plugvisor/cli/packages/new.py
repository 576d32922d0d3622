"""`plugvisor new`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from plugvisor.cli.packages.templates import SCHEMA_FILE, TEMPLATES
from plugvisor.errors import ConfigurationError
from plugvisor.models.manifest_schema import render_schema
from plugvisor.plugins.manifest import ManifestError, parse_manifest

if TYPE_CHECKING:
    import argparse


def run_new(arguments: argparse.Namespace) -> int:
    """Make the folder of a plugin that works."""
    plugin_id: str = arguments.plugin_id
    files = {
        _fill_in(name, plugin_id): _fill_in(text, plugin_id) for name, text in TEMPLATES[arguments.template].items()
    }
    files[SCHEMA_FILE] = render_schema().decode()
    try:
        manifest = parse_manifest(files["plugin.toml"].encode(errors="surrogateescape"))
    except ManifestError as error:
        raise ConfigurationError(f"cannot make {plugin_id!r}: {error}") from error
    if manifest.id != plugin_id:  # a quotation mark has ended it
        raise ConfigurationError(f"cannot make {plugin_id!r}: an id consists of letters, digits, `_` and `-`")
    folder: Path = arguments.into / plugin_id
    try:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except FileExistsError as error:
        raise ConfigurationError(f"cannot make {str(folder)!r}: it is there already") from error
    except OSError as error:
        raise ConfigurationError(f"cannot make {str(folder)!r}: {error.strerror}") from error
    print(f"{folder}: {', '.join(files)}", flush=True)
    install = f"plugvisor install {folder} --start"
    if arguments.into == Path():
        print(f"{install}    packs and installs it", file=sys.stderr)
    else:  # perhaps the plugins folder, from which nothing can be installed
        refresh = f"plugvisor refresh && plugvisor start {plugin_id}"
        width = max(len(refresh), len(install))
        print(f"{refresh:<{width}}    runs it, if this is in the plugins folder", file=sys.stderr)
        print(f"{install:<{width}}    else packs and installs it", file=sys.stderr)
    return 0


def _fill_in(text: str, plugin_id: str) -> str:
    values = {"id": plugin_id, "name": make_name(plugin_id), "module": plugin_id.replace("-", "_")}
    for key, value in values.items():
        text = text.replace(f"{{{key}}}", value)
    return text


def make_name(plugin_id: str) -> str:
    """A name for people: `Web cache` of `web-cache`."""
    words = plugin_id.replace("_", " ").replace("-", " ").strip()
    return words[:1].upper() + words[1:]
