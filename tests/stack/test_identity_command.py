"""`plugvisor identity`, `whoami` and `journal` against a running service."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from plugvisor.cli.main import VERBS
from plugvisor.models.stored.identity import ROLES

from tests.helpers.ports import find_free_port
from tests.helpers.stack import ADMIN_CODE, PlugvisorStack
from tests.helpers.waiting import wait_for

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

TOKEN = re.compile(r"pv_[0-9A-Za-z]{22,}\n")


@pytest.fixture
def remove_identities(shared: PlugvisorStack) -> Iterator[None]:
    """The identities of a test end with it."""
    yield
    for identity in shared.http.get("/identities", headers=authorize(ADMIN_CODE)).json()["identities"][1:]:
        shared.http.delete(f"/identities/{identity['name']}", headers=authorize(ADMIN_CODE))


pytestmark = pytest.mark.usefixtures("remove_identities")


def authorize(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def run(plugvisor: PlugvisorStack, command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `plugvisor …`, which must succeed."""
    done = plugvisor.command(*command.split(), **environ)
    assert done.returncode == 0, done.stderr
    return done


def issue(plugvisor: PlugvisorStack, command: str) -> str:
    """Run a command that prints a token; returns the token."""
    printed = run(plugvisor, command).stdout
    assert TOKEN.fullmatch(printed), "the token is all that is on standard output"
    return printed.strip()


def fail(plugvisor: PlugvisorStack, command: str, **environ: str) -> str:
    """Run a command that the service rejects; returns its one sentence."""
    done = plugvisor.command(*command.split(), **environ)
    assert (done.returncode, done.stdout) == (1, ""), done
    assert re.fullmatch(r"plugvisor: .+\n", done.stderr), done.stderr
    return done.stderr


# -- identities


def test_an_identity_from_its_first_to_its_last_day(shared: PlugvisorStack) -> None:
    done = run(shared, "identity add ops --role operator --expires 90d --plugins web-* --plugins db")
    assert TOKEN.fullmatch(done.stdout)
    assert re.fullmatch(
        r"'ops' is added; .*once\nops: role operator, plugins web-\* db, until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n",
        done.stderr,
    )
    token = done.stdout.strip()
    assert run(shared, "whoami", PLUGVISOR_TOKEN=token).stdout.startswith(
        "ops: role operator, plugins web-* db, until "
    )
    assert json.loads(run(shared, "whoami --json", PLUGVISOR_TOKEN=token).stdout)["plugins"] == ["web-*", "db"]
    assert run(shared, "whoami").stdout == "admin: role admin\n"

    head, admin, ops = run(shared, "identity list").stdout.splitlines()
    assert head.split() == ["NAME", "ROLE", "PLUGINS", "EXPIRES", "ADDED", "BY"]
    assert admin.split() == ["admin", "admin", "*", "never", "-", "-"]
    assert re.fullmatch(r"ops +operator  web-\* db  [\d-]+ [\d:]+  [\d-]+ [\d:]+  admin", ops)
    listed = json.loads(run(shared, "identity list --json").stdout)["identities"]
    assert [(each["name"], each["plugins"]) for each in listed] == [("admin", ["*"]), ("ops", ["web-*", "db"])]
    assert token not in json.dumps(listed)

    rotated = issue(shared, "identity rotate ops")
    assert rotated != token
    assert "is wrong" in fail(shared, "whoami", PLUGVISOR_TOKEN=token)
    assert run(shared, "whoami", PLUGVISOR_TOKEN=rotated).stdout.startswith("ops: role operator")

    removed = run(shared, "identity remove ops")
    assert (removed.stdout, "'ops' is removed" in removed.stderr) == ("", True)
    assert "is wrong" in fail(shared, "whoami", PLUGVISOR_TOKEN=rotated)


def test_patterns_can_stand_before_the_name(shared: PlugvisorStack) -> None:
    issue(shared, "identity add --role operator --plugins web-*,mail --plugins db several")
    listed = json.loads(run(shared, "identity list --json").stdout)["identities"]
    assert [each["plugins"] for each in listed if each["name"] == "several"] == [["web-*", "mail", "db"]]
    run(shared, "identity remove several")


def test_an_expired_identity_is_listed_as_such(shared: PlugvisorStack) -> None:
    issue(shared, "identity add brief --role viewer --expires 1s")
    wait_for(lambda: ", expired" in run(shared, "identity list").stdout, "its end")
    run(shared, "identity remove brief")


def test_what_the_service_rejects(shared: PlugvisorStack) -> None:
    viewer = issue(shared, "identity add watcher --role viewer")
    assert run(shared, "whoami", PLUGVISOR_TOKEN=viewer).stdout == "watcher: role viewer\n"
    assert "'watcher'" in fail(shared, "identity add watcher --role viewer")
    assert "'nobody'" in fail(shared, "identity remove nobody")
    assert "'nobody'" in fail(shared, "identity rotate nobody")
    assert "admin" in fail(shared, "identity remove admin")
    assert "admin" in fail(shared, "identity list", PLUGVISOR_TOKEN=viewer), "it says which role is needed"
    assert "it came from PLUGVISOR_TOKEN" in fail(shared, "identity list", PLUGVISOR_TOKEN="pv_wrong")
    assert "future" in fail(shared, "identity add late --role viewer --expires 2020-01-31")
    assert "it came from PLUGVISOR_ADMIN_CODE" in fail(shared, "whoami", PLUGVISOR_ADMIN_CODE="wrong-code")
    for name in ("Ops", "../admin", "a b", "é", "\udcff"):
        done = shared.command("identity", "add", name, "--role", "viewer")
        assert (done.returncode, done.stdout) == (1, ""), done
        done = shared.command("identity", "remove", name)
        assert (done.returncode, done.stdout) == (1, ""), done
    names = [each["name"] for each in json.loads(run(shared, "identity list --json").stdout)["identities"]]
    assert names == ["admin", "watcher"]


@pytest.mark.parametrize(
    "command",
    [
        "identity",
        "identity nonsense",
        "identity add ops",
        "identity add --role viewer",
        "identity add ops --role owner",
        "identity add ops --role viewer --expires tomorrow",
        "journal --since yesterday",
        "journal --limit -1",
        "journal --limit many",
    ],
)
def test_how_it_is_not_used(shared: PlugvisorStack, command: str) -> None:
    done = shared.command(*command.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_the_command_knows_every_role() -> None:
    [add] = [verb for verb in VERBS if verb.name == "identity add"]
    assert dict(add.arguments)["--role"]["choices"] == ROLES


def test_nobody_answers(shared: PlugvisorStack) -> None:
    port = find_free_port()
    done = shared.command("whoami", PLUGVISOR_PORT=str(port))
    assert done.returncode == 2
    assert f"cannot reach the service at http://127.0.0.1:{port}: Connection refused" in done.stderr
    assert ADMIN_CODE not in done.stderr


def test_a_code_that_up_has_made(plugvisor: PlugvisorStack) -> None:
    """It is found in the run folder, by a service at a Unix socket as well; and can be replaced."""
    del plugvisor.environ["PLUGVISOR_ADMIN_CODE"]
    plugvisor.environ["PLUGVISOR_HOST"] = f"unix://{plugvisor.root}/http.sock"
    assert plugvisor.command("whoami").returncode == 2
    plugvisor.process = plugvisor.spawn("up")
    wait_for(lambda: plugvisor.command("health").returncode == 0, "the service")
    assert run(plugvisor, "whoami").stdout == "admin: role admin\n"
    done = run(plugvisor, "identity rotate admin")
    assert "PLUGVISOR_TOKEN" in done.stderr
    assert f"it came from '{plugvisor.run_dir}/admin_code'" in fail(plugvisor, "whoami")
    assert run(plugvisor, "whoami", PLUGVISOR_TOKEN=done.stdout.strip()).stdout == "admin: role admin\n"


def test_a_token_is_on_no_command_line_and_in_no_log(shared: PlugvisorStack) -> None:
    token = issue(shared, "identity add quiet --role viewer")
    run(shared, "whoami", PLUGVISOR_TOKEN=token)
    assert not [verb.name for verb in VERBS for name, _ in verb.arguments if "token" in name or "code" in name]
    for path in shared.root.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path
