"""The admin code of a service that is started by hand."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from plugvisor.admin_code import AdminCode, keep_admin_code, make_admin_code, read_admin_code

if TYPE_CHECKING:
    from plugvisor.settings import Settings


def find_admin_code(settings: Settings) -> AdminCode:
    """The code that was set; else the one that `serve` made when it was first started here; else a new one."""
    if (code := read_admin_code(os.environ)) is not None:
        return code
    kept = settings.run_dir / "admin_code"
    if kept.exists():
        code = read_admin_code({"PLUGVISOR_ADMIN_CODE_FILE": str(kept)})
    if code is None:
        code = make_admin_code()
        keep_admin_code(kept, code)
    # to a person at a terminal, but never to a log
    print(f"admin code: {code.value if sys.stdout.isatty() else f'in the file {kept}'}", flush=True)
    return code
