"""The verbs that show plugins and change their state."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from plugvisor.cli.verbs.verb import Verb

VERBS: tuple[Verb, ...] = ()
