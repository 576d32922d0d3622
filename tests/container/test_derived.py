"""The image that docs/container.md derives, to add packages that plugins need."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from tests.conftest import wait_for
from tests.container.engine import ROOT, build, docker, write_plugin

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


def test_python_and_debian_packages_for_plugins(
    run: Callable[..., Container], image: str, plugins: Path, tmp_path: Path
) -> None:
    [dockerfile] = re.findall(
        r"^```dockerfile\n(.*?)^```$", (ROOT / "docs" / "container.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert dockerfile.startswith("FROM plugvisor:latest\n")
    (tmp_path / "Dockerfile").write_text(dockerfile.replace("plugvisor:latest", image))
    write_plugin(plugins, "needs-both", NEEDS_BOTH)
    tag = f"plugvisor-test:{uuid.uuid4().hex[:12]}"
    build(tag, tmp_path)
    try:
        container = run("--volume", f"{plugins}:/plugins:ro", image=tag).wait_until_ready()
        wait_for(lambda: container.read_log("needs-both"), "the plugin's line")
        assert container.read_log("needs-both") == "1,234,567 42\n"
        container.remove()
    finally:
        docker("rmi", "--force", tag, check=False)
