"""The secret of webhooks: from a file, in the form of Standard Webhooks; it is never repeated in a message."""

from __future__ import annotations

import base64
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from plugvisor.engines.supervisord.boot import prepare_webhook_secret
from plugvisor.errors import ConfigurationError
from plugvisor.settings import Settings
from plugvisor.users import User, Users
from plugvisor.webhook_secret import WebhookSecret, read_webhook_secret

if TYPE_CHECKING:
    from pathlib import Path


def make_secret(size: int) -> str:
    return "whsec_" + base64.b64encode(bytes(range(size))).decode()


def make_settings(tmp_path: Path, text: str | None = None) -> Settings:
    """Settings with webhooks; with a text, there is a file with it."""
    environ = {"PLUGVISOR_WEBHOOKS": "https://example.com/hook", "PLUGVISOR_RUN_DIR": str(tmp_path)}
    if text is not None:
        (tmp_path / "secret").write_text(text)
        environ["PLUGVISOR_WEBHOOK_SECRET_FILE"] = str(tmp_path / "secret")
    return Settings.from_env(environ)


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_secret(tmp_path: Path, size: int) -> None:
    read = read_webhook_secret(make_settings(tmp_path, f"{make_secret(size)}\n"))
    assert read == WebhookSecret(make_secret(size))
    assert make_secret(size) not in repr(read)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        make_secret(23),
        make_secret(65),
        make_secret(24).removeprefix("whsec_"),
        make_secret(32)[:-1],
        make_secret(32) + "*",
        make_secret(32) + "\n" + make_secret(32),
        "whsec_" + "é" * 40,
    ],
)
def test_an_invalid_secret_is_rejected_and_not_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot use the secret in .*openssl rand -base64 32") as caught:
        read_webhook_secret(make_settings(tmp_path, text))
    assert not text or text == "whsec_" or text not in str(caught.value)


def test_webhooks_without_a_secret_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set PLUGVISOR_WEBHOOK_SECRET_FILE to a file; make one with: "):
        read_webhook_secret(make_settings(tmp_path))
    (tmp_path / "secret").mkdir()
    settings = replace(make_settings(tmp_path), webhook_secret_file=tmp_path / "secret")
    with pytest.raises(ConfigurationError, match=r"cannot read PLUGVISOR_WEBHOOK_SECRET_FILE .*: Is a directory"):
        read_webhook_secret(settings)


def test_without_webhooks_no_secret_is_read(tmp_path: Path) -> None:
    settings = replace(make_settings(tmp_path, "invalid"), webhooks=())
    assert read_webhook_secret(settings) is None
    environ: dict[str, str] = {}
    prepare_webhook_secret(settings, environ)
    assert environ == {}


def test_one_user_reads_the_operators_own_file(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    prepare_webhook_secret(make_settings(tmp_path, make_secret(32)), environ)
    assert environ == {}
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_with_two_users_the_service_gets_a_copy(tmp_path: Path) -> None:
    """The file may be root's alone."""
    user = User("me", os.getuid(), os.getgid(), "/")
    settings = replace(make_settings(tmp_path, make_secret(32)), users=Users(user, user))
    copy = tmp_path / "webhook_secret"
    copy.write_text("an older one")
    environ: dict[str, str] = {}
    prepare_webhook_secret(settings, environ)
    assert environ == {"PLUGVISOR_WEBHOOK_SECRET_FILE": str(copy)}
    assert copy.read_text() == make_secret(32) + "\n"
    status = copy.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, os.getgid())
