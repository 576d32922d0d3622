"""The command."""

from __future__ import annotations

import argparse
import os
import random
import sys

from tests.chaos.cast.cast import OPTIONAL, choose_cast
from tests.chaos.operations import make_round
from tests.chaos.run import shrink
from tests.chaos.side_by_side import run_side_by_side
from tests.chaos.swarm.cast import FAULTS
from tests.chaos.swarm.command import run_swarm


def main() -> int:
    """Play rounds on several Plugvisors side by side; exit status 1 if a promise was broken."""
    parser = argparse.ArgumentParser(prog="chaos", description="Random operations and faults on real Plugvisors.")
    parser.add_argument("--engine", choices=("supervisord", "swarm"), default="supervisord")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--operations", type=int, default=0, help="swarm: do at least so many")
    parser.add_argument("--fault", action="append", choices=FAULTS, default=[], help="swarm: only these; several times")
    parser.add_argument("--image", default="", help="swarm: what plugins run in; default: one is built")
    parser.add_argument("--seed", type=int, default=None, help="default: another one each time; it is printed")
    parser.add_argument("--stacks", type=int, default=4, help="how many Plugvisors; each has the next seed")
    parser.add_argument("--users", type=_read_users, default=(), metavar="SERVICE,PLUGINS", help="as root: two users")
    parser.add_argument("--without", action="append", choices=OPTIONAL, default=[], help="may be given several times")
    parser.add_argument("--first-round", type=int, default=0)
    parser.add_argument("--shrink", action="store_true", help="if a round fails, look for fewer operations that fail")
    arguments = parser.parse_args()
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1_000_000)
    if arguments.engine == "swarm":
        return run_swarm(seed, arguments)
    _print(f"seed {seed}, {arguments.stacks} Plugvisors")
    seeds = range(seed, seed + arguments.stacks)
    results = run_side_by_side(seeds, arguments.first_round, arguments.seconds, arguments.without, arguments.users)
    for one, result in results.items():
        _print(f"seed {one}: {result}")
    count, seconds = sum(result.count for result in results.values()), max(one.seconds for one in results.values())
    looks = sum(result.looks for result in results.values())
    _print(f"all: {count} operations, {count / seconds:.1f} a second, {looks} looks at the processes")
    broken = {one: result for one, result in results.items() if result.violations}
    for one, result in broken.items():
        options = "".join(f" --without {name}" for name in arguments.without)
        options += f" --users {','.join(arguments.users)}" if arguments.users else ""
        first_round = f"--first-round {result.last_round} --seconds 1"
        _print(f"again: scripts/chaos --stacks 1 --seed {one} {first_round}{options}")
        if arguments.shrink:
            _shrink(one, result.last_round, arguments)
    return 1 if broken else 0


def _read_users(text: str) -> tuple[str, ...]:
    """Two users' names, separated by a comma."""
    users = tuple(text.split(","))
    if len(users) != 2 or os.geteuid() != 0:
        raise argparse.ArgumentTypeError("name two users, as root")
    return users


def _shrink(seed: int, number: int, arguments: argparse.Namespace) -> None:
    cast = choose_cast(arguments.without)
    operations = make_round(cast, seed, number)
    fewer = shrink(cast, operations, arguments.users)
    _print(f"of the {len(operations)} operations of round {number} these fail as well, by themselves:")
    for operation in fewer if len(fewer) < len(operations) else ["none: it needs what came before, or luck"]:
        _print(str(operation))


def _print(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - a command prints


if __name__ == "__main__":
    sys.exit(main())
