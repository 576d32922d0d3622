"""Strings that mean something to a shell, to supervisord's configuration, or to whoever quotes them."""

from __future__ import annotations

from hypothesis import strategies as st
from plugvisor.engines.launching import ORDINARY_VARIABLES

CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
SPECIAL = st.sampled_from(";#%'\"\\$`!~*?[]{}()<>|&=-:,.@/a")
WORDS = st.sampled_from(
    [
        *("\n", "\r\n", "\t", " ", "\x01", "\x7f", "\x81", "\x88", "\u2028", "\\n", "你好", "🐈\u200d⬛"),
        *("%(ENV_HOME)s", "%%", "${HOME}", "$(id)", "`id`", "'\\''", "--", "-i", "-u", "\n{", "\n}\n"),
        *("\n[program:x]\ncommand=id\n", " ; comment", "\n#"),
    ]
)
TEXT = st.one_of(st.text(CHARACTERS, max_size=20), st.lists(SPECIAL | WORDS, max_size=8).map("".join))
VARIABLES = st.dictionaries(
    TEXT.map(lambda name: name.replace("=", "")).filter(lambda name: name and name not in ORDINARY_VARIABLES),
    TEXT,
    max_size=5,
)
FILE_NAMES = (
    st.one_of(TEXT.map(str.encode), st.binary(max_size=20))
    .map(lambda name: name.replace(b"/", b"").replace(b"\0", b"")[:200])
    .filter(lambda name: name not in (b"", b".", b".."))
)
EVERY_BYTE = bytes(byte for byte in range(1, 256) if byte != ord("/"))
EVERY_CHARACTER = "".join(map(chr, [*range(1, 0x250), 0x2028, 0xFEFF, 0xFFFF, 0x1F408]))
