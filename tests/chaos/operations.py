"""Random operations and faults on a real Plugvisor, from a seed: `scripts/chaos --seconds 1800 --seed 7`.

A run is a row of rounds. In each, several clients do what the seed says, at the same time; then everything comes to
rest and is looked at. The seed decides what is done, not how the processes are scheduled, so a failure may need
more than one try to come again: `--first-round N` begins at the round that failed, `--shrink` looks for fewer
operations that fail too.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.conftest import ADMIN_CODE, make_plugvisor, wait_for
from tests.supervisord.cast import CAST
from tests.supervisord.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.conftest import Plugvisor
    from tests.supervisord.witness import Interval

CLIENTS = 8
OPERATIONS_PER_CLIENT = 8
QUIET_SECONDS = 30.0
READ_SECONDS = 5.0
"""Within this every read is answered, as README says."""
ALONE_SECONDS = 5.0
"""Within this a plugin that obeys is started, stopped or reloaded, whatever others do: the deaf one takes longer."""
LONGEST_SECONDS = 120.0
"""Within this every operation is answered, those that waited for their turn too: CLIENTS of the slowest."""
FREEZE_SECONDS = 1.0

WEIGHTS = {
    "start": 26, "stop": 18, "reload": 12, "read": 6, "refresh": 4, "hang-up": 3,
    "ctl-start": 2, "ctl-stop": 2, "ctl-restart": 2, "ctl-update": 1,
    "kill": 6, "term": 3, "pause": 2, "continue": 2,
    "edit": 3, "break": 1, "repair": 3, "remove": 1, "add": 3,
    "kill-service": 1, "freeze": 1,
}  # fmt: skip
EXPECTED = {
    "start": {200, 404, 409, 422, 500}, "stop": {200, 202, 404, 409}, "reload": {200, 202, 404, 409, 422, 500},
    "refresh": {200}, "read": {200},
}  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """One thing that one client does."""

    client: int
    kind: str
    plugin_id: str
    pause_seconds: float
    wait: str = ""
    verb: str = ""
    """What a client asks for that hangs up."""


def make_round(seed: int, number: int) -> list[Operation]:
    """What is done in one round."""
    dice = random.Random(f"{seed}:{number}")
    # a few plugins in each round, so that clients meet
    names = dice.sample(sorted(CAST), 7)
    operations = [Operation(client, "start", name, 0) for client, name in enumerate(names)]
    for client in range(CLIENTS):
        for _ in range(OPERATIONS_PER_CLIENT):
            [kind] = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))
            pause_seconds = dice.choice([0, 0, 0.01, 0.1, dice.random() * 0.5])
            wait, verb = dice.choice(["", "", "", "0", "0.3", "10"]), dice.choice(["start", "stop", "reload"])
            operations.append(Operation(client, kind, dice.choice(names), pause_seconds, wait, verb))
    return operations


class Stage:
    """One Plugvisor with the whole cast, on which rounds are played."""

    def __init__(self, plugvisor: Plugvisor, witness: Witness) -> None:
        self.plugvisor = plugvisor
        self.witness = witness
        self.done: collections.Counter[str] = collections.Counter()
        self.answers: collections.Counter[str] = collections.Counter()
        self._service_deaths = 0
        self._files = threading.Lock()
        self._supervisord_log = plugvisor.log_dir / "_supervisord.log"

    # -- a round

    def play(self, operations: Sequence[Operation]) -> None:
        """Have the clients do all of it, then look at what came of it."""
        self.witness.begin_round()
        clients = sorted({operation.client for operation in operations})
        threads = [
            threading.Thread(target=self._act, args=([one for one in operations if one.client == client],))
            for client in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._come_to_rest()

    def _act(self, operations: Sequence[Operation]) -> None:
        with httpx.Client(base_url=self.plugvisor.url, timeout=LONGEST_SECONDS + 20, trust_env=False) as http:
            for operation in operations:
                if self.witness.violations:
                    return
                time.sleep(operation.pause_seconds)
                try:
                    self._do(operation, http)
                except Exception as error:  # noqa: BLE001 - a thread's error would be lost
                    self.witness.report(f"the test itself, in {operation}: {error!r}")
                self.done[operation.kind] += 1

    def _do(self, operation: Operation, http: httpx.Client) -> None:
        name = operation.plugin_id
        match operation.kind:
            case "start" | "stop" | "reload" as verb:
                self._ask(verb, name, operation.wait, http)
            case "hang-up":
                self._hang_up(operation)
            case "read" | "refresh":
                self._ask_all(operation.kind, http)
            case "ctl-start" | "ctl-stop" | "ctl-restart":
                verb = operation.kind.removeprefix("ctl-")
                with self.witness.doing(name, starts=verb != "stop", stops=verb == "stop") as interval:
                    self.plugvisor.ctl(verb, name)
                del interval
            case "ctl-update":
                with self._doing_all():
                    self.plugvisor.ctl("update")
            case "kill" | "term" | "pause" | "continue":
                self._signal(operation)
            case "kill-service":
                self._kill_service()
            case "freeze":
                self._freeze()
            case _:
                self._change_manifest(operation)

    # -- by HTTP

    def _ask(self, verb: str, name: str, wait: str, http: httpx.Client) -> None:
        path = f"/plugin/{name}/{verb}" + (f"?wait={wait}" if wait else "")
        log_size = self._supervisord_log.stat().st_size
        with self.witness.doing(name, starts=verb != "stop", stops=verb == "stop") as interval:
            try:
                response = http.post(path, headers={"Authorization": f"Bearer {ADMIN_CODE}"})
            except httpx.TransportError as error:
                self.witness.lose_sight(name, may_start=verb != "stop")
                if not self._was_disturbed(interval.began):
                    self.witness.report(f"5: {path}: {error!r}")
                return
            seconds = time.monotonic() - interval.began
            code = response.json().get("code", "")
            self.answers[f"{verb} {response.status_code} {code}".strip()] += 1
            if response.status_code == 202 or code in ("supervisor_unavailable", "stop_timeout"):
                self.witness.lose_sight(name, may_start=verb != "stop")
            if verb == "stop" and response.status_code == 200:
                self.witness.check_stopped(name, interval)
            self._check_answer(verb, path, response, seconds, interval)
            if self.witness.was_alone(name, interval) and response.status_code == 200:
                self._check_alone(verb, name, response.json(), log_size, seconds)

    def _check_answer(self, verb: str, path: str, response: httpx.Response, seconds: float, interval: Interval) -> None:
        is_disturbed = self._was_disturbed(interval.began)
        told = f"{path}: {response.status_code} {response.text} after {seconds:.2f} s"
        if response.status_code not in EXPECTED[verb] and not (is_disturbed and response.status_code == 503):
            self.witness.report(f"6: {told}")
        if response.status_code == 500 and response.json()["code"] != "start_failed":
            self.witness.report(f"6: {told}")
        if seconds > LONGEST_SECONDS + (FREEZE_SECONDS if is_disturbed else 0):
            self.witness.report(f"5: {told}")

    def _check_alone(self, verb: str, name: str, answer: dict[str, Any], log_size: int, seconds: float) -> None:
        """Nobody else has done anything to the plugin meanwhile."""
        character = CAST[name]
        if character.is_steady and (character.is_quick or verb == "start") and seconds > ALONE_SECONDS:
            self.witness.report(
                f"5: {verb} of {name!r} took {seconds:.2f} s, and nothing else was done to it: {answer}"
            )
        if verb != "stop" and character.is_steady:
            with self._supervisord_log.open(errors="replace") as log:
                log.seek(log_size)
                spawned = [int(pid) for pid in re.findall(rf"spawned: '{name}' with pid (\d+)", log.read())]
            if spawned != [answer["pid"]]:
                self.witness.report(f"3: {verb} of {name!r} was answered with {answer}, but spawned were {spawned}")

    def _ask_all(self, kind: str, http: httpx.Client) -> None:
        began = time.monotonic()
        with self._doing_all(starts=False) if kind == "refresh" else contextlib.nullcontext():
            try:
                if kind == "read":
                    response = http.get("/plugin/status")
                else:
                    response = http.post("/plugins/refresh", headers={"Authorization": f"Bearer {ADMIN_CODE}"})
            except httpx.TransportError as error:
                if not self._was_disturbed(began):
                    self.witness.report(f"5: {kind}: {error!r}")
                return
        seconds = time.monotonic() - began
        self.answers[f"{kind} {response.status_code}"] += 1
        is_disturbed = self._was_disturbed(began)
        if response.status_code != 200 and not (is_disturbed and response.status_code == 503):
            self.witness.report(f"6: {kind}: {response.status_code} {response.text}")
        if seconds > (READ_SECONDS if kind == "read" else LONGEST_SECONDS):
            self.witness.report(f"5: {kind} took {seconds:.2f} s")

    def _hang_up(self, operation: Operation) -> None:
        name, verb = operation.plugin_id, operation.verb
        with self.witness.doing(name, starts=verb != "stop", stops=verb == "stop"):
            self.witness.lose_sight(name, may_start=verb != "stop")
            head = f"POST /plugin/{name}/{verb} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_CODE}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.plugvisor.port)) as client:
                client.sendall(f"{head}\r\nContent-Length: 0\r\n\r\n".encode())
                time.sleep(operation.pause_seconds / 5)

    @contextlib.contextmanager
    def _doing_all(self, *, starts: bool = True) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name in CAST:
                stack.enter_context(self.witness.doing(name, starts=starts, stops=True))
            yield

    # -- past it

    def _signal(self, operation: Operation) -> None:
        name = operation.plugin_id
        family = [seen for seen in self.witness.read() if seen.plugin_id == name]
        if operation.verb == "start":  # the main process; else any of the family
            family = [seen for seen in family if seen.is_main] or family
        if not family:
            return
        sent = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "pause": signal.SIGSTOP, "continue": signal.SIGCONT}
        # a SIGTERM that nobody asked for is an expected end, and nobody starts it again
        with self.witness.doing(name, stops=operation.kind == "term"):
            if operation.kind == "pause":
                self.witness.lose_sight(name, may_start=False)
            if family[0].is_alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(family[0].pid, sent[operation.kind])

    def _kill_service(self) -> None:
        found = [pid for pid in _find_children(self.plugvisor.supervisord_pid) if "serve" in _read_command(pid)]
        if found:
            self.witness.disturb(2)
            self.witness.lose_sight_of_what_is_under_way()
            self._service_deaths += 1
            with contextlib.suppress(ProcessLookupError):
                os.kill(found[0], signal.SIGKILL)
            deadline = time.monotonic() + QUIET_SECONDS
            while not self._is_service_back() and time.monotonic() < deadline:
                self.witness.disturb(1)
                time.sleep(0.05)

    def _freeze(self) -> None:
        self.witness.disturb(FREEZE_SECONDS + 5)
        os.kill(self.plugvisor.supervisord_pid, signal.SIGSTOP)
        time.sleep(FREEZE_SECONDS)
        os.kill(self.plugvisor.supervisord_pid, signal.SIGCONT)

    def _was_disturbed(self, since: float) -> bool:
        return self.witness.disturbed_at > since

    def _change_manifest(self, operation: Operation) -> None:
        name = operation.plugin_id
        folder, away = self.plugvisor.plugins_dir / name, self.plugvisor.root / f"away-{name}"
        # for what follows from it, such as a plugin that cannot be started again
        with self._files, self.witness.doing(name, stops=operation.kind in ("break", "remove")):
            match operation.kind:
                case "remove" if folder.exists():
                    folder.rename(away)
                case "add" if away.exists():
                    away.rename(folder)
                case "break" if folder.exists():
                    (folder / "plugin.toml").write_text("[plugin\n")
                case "edit" | "repair" if folder.exists():
                    self._write(name, priority=random.randrange(1000))

    def _write(self, name: str, priority: int = 999) -> None:
        character = CAST[name]
        runtime = f"auto_start = false\n[plugin_runtime.supervisor]\npriority = {priority}\n{character.supervisor}"
        self.plugvisor.write_plugin(name, character.code, runtime=runtime)

    # -- before and after

    def prepare(self) -> None:
        """Write every plugin and start everything."""
        for name in CAST:
            self._write(name)
        self.plugvisor.up()
        self._pid = self.plugvisor.supervisord_pid

    def _come_to_rest(self) -> None:
        for seen in self.witness.read():
            with contextlib.suppress(ProcessLookupError):
                os.kill(seen.pid, signal.SIGCONT)
        if self.witness.violations:
            return
        try:
            wait_for(self._is_service_back, "the service to answer", QUIET_SECONDS)
            for name in CAST:
                self._check_truth(name)
        except pytest.fail.Exception as failure:
            self.witness.report(f"4: {failure}")
            return
        self._check_logs()

    def _is_service_back(self) -> bool:
        self.plugvisor.nudge()
        try:
            return self.plugvisor.http.get("/plugin/status").status_code == 200
        except httpx.TransportError:
            return False

    def _check_truth(self, name: str) -> None:
        """The API, supervisorctl's source and the process table say the same of a plugin, and it runs if it must."""
        told: list[Any] = []

        def agree() -> bool:
            told[:] = [self._ask_api(name), self._ask_supervisord(name)]
            family = [seen for seen in self.witness.read() if seen.plugin_id == name]
            told.append(family)
            (api_state, api_pid), (state, pid), _ = told
            mains = [seen.pid for seen in family if seen.is_main]
            # what escaped from a life that nobody stopped by the API is not swept with a stock supervisord
            strays = [] if self.plugvisor.stock else [seen for seen in family if seen.main_pid != pid]
            is_settled = state not in ("STARTING", "STOPPING") or not CAST[name].is_steady
            must_run = self.witness.must_run(name)
            return (
                is_settled
                and (api_state, api_pid) == (state, pid)
                and mains == ([pid] if pid else [])
                and not strays
                and (bool(pid) or not must_run)
            )

        deadline = time.monotonic() + QUIET_SECONDS
        while not agree():
            if time.monotonic() > deadline:
                number = "6: it was lost" if self.witness.must_run(name) and not told[1][1] else "4: they do not agree"
                self.witness.report(f"{number}: {name!r}: API {told[0]}, supervisord {told[1]}, processes {told[2]}")
                return
            time.sleep(0.02)

    def _ask_api(self, name: str) -> tuple[str, int]:
        answer = self.plugvisor.http.get("/plugin/status", params={"plugin_id": name})
        if answer.status_code != 200:
            return "STOPPED", 0  # removed
        return answer.json()["state"].replace("UNKNOWN", "STOPPED"), answer.json().get("pid", 0)

    def _ask_supervisord(self, name: str) -> tuple[str, int]:
        infos = {info["name"]: info for info in self.plugvisor.rpc("getAllProcessInfo")}
        info = infos.get(name, {"statename": "STOPPED", "pid": 0})
        return info["statename"], info["pid"]

    def _check_logs(self) -> None:
        process = self.plugvisor.process
        if process is None or process.poll() is not None:
            self.witness.report("6: supervisord has ended")
        supervisord_log, service_log = self.plugvisor.read_log("_supervisord"), self.plugvisor.service_log
        for log in (supervisord_log, service_log, self.plugvisor.output_path.read_text(errors="replace")):
            if "Traceback" in log:
                self.witness.report(f"6: {log[log.index('Traceback') - 500 :][:3000]}")
        spawned = supervisord_log.count("spawned: 'plugvisor'")
        if spawned > 1 + self._service_deaths and supervisord_log.startswith("2"):
            self.witness.report(f"6: the service was started {spawned} times, and killed {self._service_deaths} times")


def _find_children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _read_command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    return ""


@dataclass
class Result:
    """What a run came to."""

    rounds: int
    operations: collections.Counter[str]
    answers: collections.Counter[str]
    looks: int
    violations: list[str]
    round_: int
    """The last one, where it failed."""
    logs: str = ""

    def __str__(self) -> str:
        lines = [
            f"{self.rounds} rounds, {sum(self.operations.values())} operations, {self.looks} looks at the processes"
        ]
        lines += [", ".join(f"{count} {kind}" for kind, count in sorted(counter.items()))
                  for counter in (self.operations, self.answers)]  # fmt: skip
        return "\n".join([*lines, *self.violations, self.logs])


def run(
    *,
    stock: bool,
    rounds: Iterator[tuple[int, Sequence[Operation]]],
    seconds: float,
    tell: Callable[[str], object] = lambda _: None,
) -> Result:
    """Play rounds on one Plugvisor until the time is over or a promise is broken."""
    deadline = time.monotonic() + seconds
    played = number = 0
    with make_plugvisor(stock=stock, is_swept=not stock) as plugvisor, Witness(plugvisor) as witness:
        stage = Stage(plugvisor, witness)
        stage.prepare()
        for number, operations in rounds:
            stage.play(operations)
            played += 1
            tell(f"round {number}: {sum(stage.done.values())} operations, {witness.looks} looks")
            if witness.violations or time.monotonic() > deadline:
                break
        result = Result(played, stage.done, stage.answers, witness.looks, witness.violations, number)
        if witness.violations:
            result.logs = "".join(
                f"--- {name}\n{plugvisor.read_log(name)[-6000:]}" for name in ("_supervisord", "_server")
            )
            keep = Path(os.environ.get("TMPDIR", "/tmp")) / f"chaos-{os.getpid()}"
            shutil.copytree(plugvisor.log_dir, keep, dirs_exist_ok=True)
            result.violations.append(f"logs are in {keep}")
    return result


def rounds_of(seed: int, first: int = 0) -> Iterator[tuple[int, Sequence[Operation]]]:
    """The rounds of a seed, without end."""
    while True:
        yield first, make_round(seed, first)
        first += 1


def shrink(operations: list[Operation], *, stock: bool, tries: int = 3) -> list[Operation]:
    """Fewer operations that still fail, at least once in so many tries."""

    def fails(some: Sequence[Operation]) -> bool:
        return any(run(stock=stock, rounds=iter([(0, some)]), seconds=0).violations for _ in range(tries))

    size = len(operations) // 2
    while size:
        for begin in range(0, len(operations), size):
            fewer = operations[:begin] + operations[begin + size :]
            if fewer and fails(fewer):
                operations = fewer
                break
        else:
            size //= 2
    return operations


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="chaos", description="Random operations and faults on a real Plugvisor.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time; it is printed")
    parser.add_argument("--stock", action="store_true", help="a supervisord without the extension")
    parser.add_argument("--first-round", type=int, default=0)
    parser.add_argument(
        "--shrink", action="store_true", help="after a failure, look for fewer operations that fail too"
    )
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)

    def tell(line: str) -> None:
        print(line, flush=True)  # noqa: T201 - a command prints

    tell(f"seed {seed}, {'a stock supervisord' if arguments.stock else 'with the extension'}")
    rounds = rounds_of(seed, arguments.first_round)
    result = run(stock=arguments.stock, rounds=rounds, seconds=arguments.seconds, tell=tell)
    tell(str(result))
    if result.violations:
        stock = " --stock" if arguments.stock else ""
        tell(f"again: scripts/chaos --seed {seed} --first-round {result.round_} --seconds 1{stock}")
        if arguments.shrink:
            operations = make_round(seed, result.round_)
            fewer = shrink(operations, stock=arguments.stock)
            tell(f"of the {len(operations)} operations of round {result.round_} these fail as well, by themselves:")
            for operation in fewer if len(fewer) < len(operations) else ["none: it needs what came before, or luck"]:
                tell(str(operation))
    return 1 if result.violations else 0


if __name__ == "__main__":
    sys.exit(main())
