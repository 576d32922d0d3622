"""The image that docs/container.md derives, to add packages that plugins need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.container.engine import ROOT, build, remove_image, unique_tag, write_plugin
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.container.engine import Container

NEEDS_BOTH = """
import subprocess, time
import humanize
answer = subprocess.run(["jq", "-n", "6 * 7"], capture_output=True, text=True, check=True).stdout.strip()
print(humanize.intcomma(1234567), answer, flush=True)
time.sleep(99)
"""


def read_documented_dockerfile() -> str:
    text = (ROOT / "docs" / "container.md").read_text()
    [dockerfile] = re.findall(r"^```dockerfile\n(FROM plugvisor:latest\n.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(dockerfile)


def test_python_and_debian_packages_for_plugins(
    run: Callable[..., Container], image: str, plugins: Path, tmp_path: Path
) -> None:
    (tmp_path / "Dockerfile").write_text(read_documented_dockerfile().replace("plugvisor:latest", image))
    write_plugin(plugins, "needs-both", NEEDS_BOTH)
    tag = unique_tag()
    build(tag, tmp_path)
    try:
        container = run("--volume", f"{plugins}:/plugins:ro", image=tag).wait_until_ready()
        wait_for(lambda: container.read_log("needs-both"), "the plugin's line")
        assert container.read_log("needs-both") == "1,234,567 42\n"
        container.remove()
    finally:
        remove_image(tag)
