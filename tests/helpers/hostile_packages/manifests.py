"""Packages without a manifest, or with one that cannot be one."""

from __future__ import annotations

from tests.helpers.hostile_packages.case import MANIFEST, Cases
from tests.helpers.packages import Link

CASES = Cases()
NONE = "no plugin.toml in its root"
CASES.add_files("no manifest", {"main.py": b""}, NONE, "")
CASES.add_files("no manifest, one folder", {"echo/main.py": b""}, NONE, "")
CASES.add_files("manifest too deep", {"a/b/plugin.toml": MANIFEST}, NONE, "")
CASES.add_files("manifest in one of two folders", {"a/plugin.toml": MANIFEST, "b/x": b""}, NONE, "")
CASES.add_files("manifest in a folder beside a file", {"a/plugin.toml": MANIFEST, "x": b""}, NONE, "")
CASES.add_files("manifest in a folder that is a link", {"a": Link("b"), "b/plugin.toml": MANIFEST}, NONE, "")
CASES.add_files("manifest in other case", {"Plugin.toml": MANIFEST}, NONE, "")
CASES.add_files("manifest that is a link", {"plugin.toml": Link("x"), "x": MANIFEST}, "must be a file", "plugin.toml")
CASES.add_files("manifest that leads out", {"plugin.toml": Link("/etc/passwd")}, "leads out", "plugin.toml")
CASES.add_files("manifest that is a folder", {"plugin.toml/x": b""}, "must be a file", "plugin.toml")
CASES.add_files(
    "manifest in a folder, a link", {"a/plugin.toml": Link("x"), "a/x": MANIFEST}, "must be", "a/plugin.toml"
)
CASES.add_files("manifest of 300 KB", {"plugin.toml": b"#" * 300_000}, "larger than 256 KiB", "plugin.toml")
CASES.add_files(
    "manifest of 300 KB in a folder", {"a/plugin.toml": b"#" * 300_000}, "larger than 256 KiB", "a/plugin.toml"
)
