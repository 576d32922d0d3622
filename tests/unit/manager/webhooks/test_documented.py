"""docs/webhooks.md against the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import msgspec
from plugvisor.manager.webhooks import outbox, sender, windows
from plugvisor.models.stored.webhook import WebhookBody, WebhookKind

TEXT = (Path(__file__).parents[4] / "docs" / "webhooks.md").read_text(encoding="utf-8")


def test_every_type_has_its_row() -> None:
    assert re.findall(r"^\| `(plugin\.\w+)` \|", TEXT, re.MULTILINE) == list(get_args(WebhookKind))


def test_the_example_is_valid() -> None:
    example = re.search(r"^\{\n.*?^\}\n", TEXT, re.MULTILINE | re.DOTALL)
    assert example
    assert msgspec.json.decode(example[0], type=WebhookBody).type == "plugin.error"


def test_the_numbers() -> None:
    assert "after 5 and 30 seconds, 2, 10 and 30 minutes, and then every hour, for a day" in TEXT
    assert sender.DELAYS_SECONDS == (5, 30, 2 * 60, 10 * 60, 30 * 60, 60 * 60)
    assert outbox.KEPT_SECONDS == 24 * 60 * 60
    assert (f"within {sender.ATTEMPT_SECONDS:g} seconds" in TEXT, windows.WINDOW_SECONDS) == (True, 5 * 60)
    assert f"At most {outbox.MOST_QUEUED:,} messages" in TEXT
    assert f"none for {sender.PAUSE_SECONDS:g} seconds after a failure" in TEXT


def test_every_metric_is_named() -> None:
    for name in ("queued", "sent_total", "failed_total", "dropped_total"):
        assert f"`plugvisor_webhooks_{name}`" in TEXT
