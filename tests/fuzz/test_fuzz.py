"""Each target with its corpus and mutations of it, the same each time; `scripts/fuzz` makes far more of them."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.fuzz.targets import TARGETS, run

CORPUS = Path(__file__).parent / "corpus"
MUTATIONS = 300
"""Of each target; more where it is cheap would hide the one that is not."""
PIECES = [b"", b"\n", b"\0", b"\xff", b'"', b"'", b"[", b"]", b"{", b"}", b"=", b".", b"%", b"&", b"\\", b"\x1b[31m"]
PIECES += [b"9" * 40, b"-1", b"1e999", b"null", b"\xed\xa0\x80", b"\xe4\xbd\xa0", b"a" * 300, b"[" * 200]


def read_corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


def mutate(data: bytes, corpus: list[bytes], source: random.Random) -> bytes:
    """Cut, repeat and insert a few times."""
    for _ in range(source.randint(1, 4)):
        start, end = sorted(source.randint(0, len(data)) for _ in range(2))
        end = min(end, start + source.choice((1, 4, 1000)))
        other = source.choice(corpus)
        insert = source.choice([source.choice(PIECES), data[start:end] * 2, other[len(other) // 2 :][:50]])
        data = data[:start] + insert + data[end:]
    return data


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name: str) -> None:
    for data in read_corpus(name):
        run(name, data)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name: str) -> None:
    source = random.Random(1)
    corpus = read_corpus(name)
    for _ in range(MUTATIONS):
        data = mutate(source.choice(corpus), corpus, source)
        try:
            run(name, data)
        except Exception as error:
            raise AssertionError(f"it fails for {data[:2000]!r}") from error


def test_the_script_knows_each_target() -> None:
    text = (Path(__file__).parents[2] / "scripts" / "fuzz").read_text()
    assert re.search(r"targets:-([a-z_ ]+)}", text)[1].split() == list(TARGETS)  # type: ignore[index]
