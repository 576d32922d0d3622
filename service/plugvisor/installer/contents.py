"""The contents of a package, as a tree: no path twice or in two spellings, and no link that leads out."""

from __future__ import annotations

from dataclasses import dataclass, field

from plugvisor.installer.archives.entries import MOST_ENTRIES, Entry, Kind
from plugvisor.installer.names import PackageRefused, fold_part, parse_name, parse_target, refuse_entry, show_name
from plugvisor.layout import ENVIRONMENT, LARGEST_MANIFEST_BYTES, MANIFEST

_MOST_HOPS = 40
"""How many links may be on the way from one link; the limit of Linux."""
_MAC_FOLDER, _MAC_PREFIX = "__MACOSX", "._"
"""Files that macOS adds beside the folder that it packs."""


@dataclass(slots=True, eq=False)
class Node:
    """A path in the package."""

    name: str
    kind: Kind
    parent: Node | None = None
    is_listed: bool = False
    """Whether it has an entry of its own; a folder may exist only because of what is in it."""
    size_bytes: int = 0
    children: dict[str, Node] = field(default_factory=dict)
    """By folded names."""


class Contents:
    """All entries of a package so far."""

    def __init__(self) -> None:
        self._archive = Node("", Kind.FOLDER, is_listed=True)
        self._links: dict[Node, tuple[Entry, list[str]]] = {}
        self._followed: dict[Node, tuple[Node, int] | None] = {}
        """The end of each link and the number of links to it; None while it is being followed."""
        self._entries = self._nodes = 0
        self._parent: tuple[tuple[str, ...], Node] = (), self._archive

    def add(self, entry: Entry) -> tuple[str, ...]:
        """Check and add an entry; returns its path, which is empty if the entry is not to be unpacked.

        Raises:
            PackageRefused
        """
        self._entries += 1
        if self._entries > MOST_ENTRIES:
            raise PackageRefused(f"the package has too many entries; at most {MOST_ENTRIES} are allowed")
        parts = parse_name(entry.name)
        if not parts and entry.kind is not Kind.FOLDER:
            raise refuse_entry(entry.name, "is not a folder")
        if not parts or parts[0] == _MAC_FOLDER or parts[0].startswith(_MAC_PREFIX):
            return ()
        if self._parent[0] != parts[:-1]:
            self._parent = parts[:-1], self._find_folder(entry, parts[:-1])
        node = self._put(self._parent[1], parts[-1], entry.kind, entry)
        if node.is_listed:
            raise refuse_entry(entry.name, "is there twice")
        node.is_listed = True
        node.size_bytes = entry.size_bytes
        if entry.kind is Kind.LINK:
            self._links[node] = entry, parse_target(entry.name, entry.target)
        return parts

    def find_root(self) -> tuple[str, ...]:
        """Return the path of the plugin's folder: the archive's root, or the only folder in it.

        Raises:
            PackageRefused: there is no manifest in either, or something in the folder is not allowed.
        """
        top = self._archive
        children = list(top.children.values())
        if MANIFEST not in top.children and len(children) == 1 and children[0].kind is Kind.FOLDER:
            top = children[0]
        manifest = top.children.get(MANIFEST)
        if manifest is None or manifest.name != MANIFEST:
            raise PackageRefused(f"the package has no {MANIFEST} in its root, or in the only folder there")
        path = find_path(manifest)
        if manifest.kind is not Kind.FILE:
            raise refuse_entry(path, "must be a file")
        if manifest.size_bytes > LARGEST_MANIFEST_BYTES:
            raise refuse_entry(path, f"is larger than {LARGEST_MANIFEST_BYTES // 1024} KiB")
        if environment := top.children.get(ENVIRONMENT):
            what = "brings an environment of its own; leave it out: one is made from requirements.txt or pyproject.toml"
            raise refuse_entry(find_path(environment), what)
        return () if top is self._archive else (top.name,)

    def check_links(self, root: tuple[str, ...]) -> list[tuple[tuple[str, ...], str]]:
        """Check that every link leads to something in `root`; returns their paths and targets.

        Raises:
            PackageRefused
        """
        top = self._archive.children[fold_part(root[0])] if root else self._archive
        for link in self._links:
            self._follow(link, top, 0)
        return [(parse_name(entry.name), entry.target) for entry, _ in self._links.values()]

    # -- the tree

    def _find_folder(self, entry: Entry, parts: tuple[str, ...]) -> Node:
        node = self._archive
        for part in parts:
            node = self._put(node, part, Kind.FOLDER, entry)
        return node

    def _put(self, parent: Node, name: str, kind: Kind, entry: Entry) -> Node:
        """Find or make a child; errors name `entry`."""
        key = fold_part(name)
        node = parent.children.get(key)
        if node is None:
            node = parent.children[key] = Node(name, kind, parent)
            self._nodes += 1
            if self._nodes > 2 * MOST_ENTRIES:
                raise PackageRefused(f"the package has too many folders; at most {MOST_ENTRIES} are allowed")
        elif node.name != name:
            raise refuse_entry(entry.name, f"is the same as '{show_path(node)}' where case does not count")
        elif node.kind is not kind:
            raise refuse_entry(entry.name, f"takes '{show_path(node)}' for a {kind.value}; it is a {node.kind.value}")
        return node

    # -- links

    def _follow(self, link: Node, top: Node, depth: int) -> tuple[Node, int]:
        """Return where the kernel would get to from a link, and how many links are on the way."""
        entry, parts = self._links[link]
        target = show_name(entry.target)
        known = self._followed.get(link, ())
        if known is None or depth > _MOST_HOPS:
            raise refuse_entry(entry.name, "is a link that leads in a circle, or by too many others")
        if known:
            return known
        self._followed[link] = None
        node, hops = link.parent, 1
        assert node is not None
        for part in parts:
            if part == "..":
                if node is top or node.parent is None:
                    raise refuse_entry(entry.name, f"is a link that leads out of the package, to '{target}'")
                step = node.parent if node.kind is Kind.FOLDER else None
            else:
                step = node.children.get(fold_part(part))
            if step is None or part not in ("..", step.name):
                raise refuse_entry(entry.name, f"is a link to '{target}', which is not in the package")
            if step.kind is Kind.LINK:
                step, more = self._follow(step, top, depth + 1)
                hops += more
            node = step
        if hops > _MOST_HOPS:
            raise refuse_entry(entry.name, "is a link that leads in a circle, or by too many others")
        self._followed[link] = node, hops
        return node, hops


def find_path(node: Node) -> str:
    """The path of a node in the archive."""
    parts = []
    while node.parent is not None:
        parts.append(node.name)
        node = node.parent
    return "/".join(reversed(parts))


def show_path(node: Node) -> str:
    """The path of a node, for a message."""
    return show_name(find_path(node))
