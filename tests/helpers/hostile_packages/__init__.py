"""Hostile packages, by what is wrong with them; each is made when it is asked for.

case      `Case`: a package, and what its refusal must say; `Cases` collects them
names     names that lead out, hide something, or are too long
links     links that lead out
entries   what is there twice, and what is neither a file nor a folder nor a link
bombs     more than there may be
manifests no manifest, or one that is none
zips      zips that contradict themselves
tars      tars and compressed streams that are broken
"""

from tests.helpers.hostile_packages import bombs, entries, links, manifests, names, tars, zips
from tests.helpers.hostile_packages.case import Case

HOSTILE: dict[str, Case] = {}
for module in (names, links, entries, bombs, manifests, zips, tars):
    assert not HOSTILE.keys() & module.CASES.keys()
    HOSTILE |= module.CASES
