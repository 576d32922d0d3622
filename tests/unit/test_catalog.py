"""Every plugin in the plugins folder, the invalid ones too, and each under an id of its own."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from plugvisor.models.manifest import RESERVED_IDS, Manifest, ManifestError
from plugvisor.plugins.catalog import Catalog, Plugin, load_catalog, load_plugin
from plugvisor.plugins.manifest import ManifestCache, read_manifest

REAL_MANIFESTS = Path(__file__).parent.parent / "manifests"
BROKEN = "[plugin\n"


def render(manifest: Manifest, folder: Path) -> object:
    """An engine's program of a plugin."""
    if manifest.command == ("no-such-command",):
        raise ManifestError("the command is not found")
    return manifest, folder


def manifest_of(plugin_id: str, command: str = "true") -> str:
    return f'[plugin]\nid = "{plugin_id}"\ncommand = ["{command}"]\n'


class Folders:
    """A plugins folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, name: str | bytes, manifest: str | None) -> Path:
        """One plugin's folder; None: without a manifest."""
        path = self.root / os.fsdecode(name)
        path.mkdir()
        if manifest is not None:
            (path / "plugin.toml").write_text(manifest)
        return path

    def load(self, **published: Path | None) -> Catalog:
        return load_catalog(self.root, published, render)

    def owners(self, **published: Path | None) -> dict[str, str]:
        """The folder's name by id, with a `!` where the plugin cannot be used."""
        catalog = self.load(**published)
        return {key: plugin.name_of_folder + "!" * bool(plugin.problem) for key, plugin in catalog.items()}


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


def test_real_manifests() -> None:
    catalog = load_catalog(REAL_MANIFESTS, {}, render)
    listed = [
        (p.name_of_folder, p.manifest.id, p.manifest.name, p.manifest.version, p.manifest.description, p.enabled)
        for p in catalog.values()
        if p.manifest and not p.problem and p.program
    ]
    assert list(catalog) == [row[1] for row in listed], "by id, and all of them"
    assert listed == [
        (
            "bilibili_danmaku",
            "bilibili-danmaku",
            "B站弹幕监听",
            "1.0.0",
            "实时监听B站直播间弹幕，过滤后推送给AI分析和回复",
            True,
        ),
        (
            "load_tester",
            "load_tester",
            "Load Test Plugin",
            "0.1.0",
            "Plugin for measuring QPS limits of N.E.K.O plugin subsystems",
            True,
        ),
        (
            "mcp_adapter",
            "mcp_adapter",
            "MCP Adapter",
            "0.1.0",
            "MCP (Model Context Protocol) Router - Connect to MCP servers and expose their tools as NEKO entries",
            True,
        ),
        ("mijia", "mijia", "米家智能家居", "2.0.0", "控制米家设备，让AI伙伴帮你开关灯、调节空调等", True),
        (
            "study_companion",
            "study_companion",
            "Study Companion",
            "0.1.5",
            "An adaptive study companion that can classify the screen, generate questions, evaluate answers, "
            "explain concepts, and summarize sessions.",
            True,
        ),
        (
            "testPlugin",
            "testPlugin",
            "Test Plugin",
            "0.1.0",
            "Minimal plugin used for local testing, no required input",
            True,
        ),
        (
            "web_interface",
            "web_interface",
            "Web Interface Plugin",
            "1.0.0",
            "一个提供 FastAPI Web 界面的插件，显示消息和状态信息",
            True,
        ),
    ]


def test_an_invalid_plugin_is_listed_and_harms_no_other(folders: Folders) -> None:
    folders.write("good", manifest_of("good"))
    folders.write("disabled", manifest_of("disabled") + "[plugin_runtime]\nenabled = false\n")
    folders.write("empty", None)
    folders.write("bad toml", BROKEN)
    folders.write("no_command", manifest_of("still-itself", command="no-such-command"))
    folders.write("manifest_is_a_folder", None).joinpath("plugin.toml").mkdir()
    folders.write(b"not \xff UTF-8", BROKEN)
    (folders.root / "loop").symlink_to("loop")
    (folders.root / "dangling").symlink_to("nowhere")
    (folders.root / "linked").symlink_to("good2")
    folders.write("good2", manifest_of("good2"))
    (folders.root / "to_a_device").symlink_to("/dev/null")

    catalog = folders.load()

    problems = {key: plugin.problem for key, plugin in catalog.items()}
    no_file = "plugin.toml: the folder has no such file; write one, or move the folder elsewhere"
    assert problems == {
        "bad toml": "plugin.toml line 1: Expected ']' at the end of a table declaration",
        "dangling": "plugin.toml: the folder is a link that leads nowhere; correct or remove it",
        "disabled": "",
        "empty": no_file,
        "good": "",
        "good2": "",
        "linked": "plugin.toml: the id 'good2' is taken by the folder 'good2'",
        "loop": "plugin.toml: it cannot be read: Too many levels of symbolic links",
        "manifest_is_a_folder": "plugin.toml: it is no regular file",
        r"not \x{dcff} UTF-8": "plugin.toml line 1: Expected ']' at the end of a table declaration",
        "still-itself": "plugin.toml: the command is not found",
        "to_a_device": "plugin.toml: it cannot be read: Not a directory",
    }
    assert [key for key, plugin in catalog.items() if plugin.enabled] == ["good", "good2"]
    assert {key for key, plugin in catalog.items() if plugin.program} == {"disabled", "good", "good2"}
    assert catalog["still-itself"].manifest is not None
    manifest = read_manifest(folders.root / "good")
    program = render(manifest, folders.root / "good")
    assert catalog["good"] == Plugin("good", folders.root / "good", manifest, program)
    errors = [(key, plugin.manifest_error) for key, plugin in catalog.items() if plugin.manifest_error]
    assert {key: str(error) for key, error in errors} == {key: text for key, text in problems.items() if text}
    assert catalog["bad toml"].manifest_error == ManifestError("Expected ']' at the end of a table declaration", 1, 8)
    assert not any(error.__traceback__ or error.__cause__ for _, error in errors)


def test_what_has_not_changed_is_equal_and_not_parsed_again(folders: Folders) -> None:
    for name in ("a", "b", "gone"):
        folders.write(name, manifest_of(name))
    folders.write("broken", BROKEN)
    cache: ManifestCache = {}
    before = load_catalog(folders.root, {}, render, cache)
    (folders.root / "b" / "plugin.toml").write_text(manifest_of("b", "false"))
    shutil.rmtree(folders.root / "gone")
    after = load_catalog(folders.root, {}, render, cache)
    assert {key for key in before if before[key] == after.get(key)} == {"a", "broken"}
    assert after["a"].manifest is before["a"].manifest
    assert after["a"] == load_plugin(folders.root / "a", render)
    assert {folder.name for folder in cache} == {"a", "b", "broken"}, "nothing is kept of a folder that is gone"


def test_what_is_no_plugin_is_not_listed(folders: Folders) -> None:
    for name in (".git", "__pycache__", ".hidden"):
        folders.write(name, manifest_of("hidden"))
    (folders.root / "file").write_text(manifest_of("file"))
    (folders.root / "link_to_file").symlink_to("file")
    assert folders.load() == {}


@pytest.mark.parametrize("name", ["missing", "file/below"])
def test_a_plugins_folder_that_cannot_be_read_is_no_empty_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"No such file|Not a directory"):
        load_catalog(tmp_path / name, {"running": tmp_path / name / "running"}, render)


def test_load_plugin_reads_one_folder_alike(folders: Folders) -> None:
    path = folders.write("folder", manifest_of("echo"))
    assert load_plugin(path, render) == folders.load()["echo"]
    path.joinpath("plugin.toml").write_text(BROKEN)
    assert load_plugin(path, render) == folders.load()["folder"]


# -- who has an id


def test_a_second_claim_to_an_id_is_a_problem_of_the_second(folders: Folders) -> None:
    for name in ("b", "a", "c"):
        folders.write(name, manifest_of("same"))
    assert folders.owners() == {"same": "a", "b": "b!", "c": "c!"}, "the order of the names decides"
    assert folders.load()["b"].problem == "plugin.toml: the id 'same' is taken by the folder 'a'"
    assert folders.load()["b"].manifest is None
    folders.write("same", manifest_of("same"))
    assert folders.owners() == {"same": "same", "a": "a!", "b": "b!", "c": "c!"}, "the folder of that name"
    published = folders.root / "c"
    assert folders.owners(same=published) == {"same": "c", "a": "a!", "b": "b!", "same\\": "same!"}, "the one published"


def test_a_second_claim_names_the_folder_that_has_the_id_in_the_end(folders: Folders) -> None:
    for name, plugin_id in {"a": "c", "b": "b", "c": "b", "d": "c"}.items():
        folders.write(name, manifest_of(plugin_id))
    assert folders.owners() == {"b": "b", "c": "c!", "a": "a!", "d": "d!"}
    assert {key: plugin.problem[-10:] for key, plugin in folders.load().items()} == {
        "a": "folder 'c'",
        "b": "",
        "c": "folder 'b'",
        "d": "folder 'c'",
    }


def test_ids_that_differ_in_case_alone_are_the_same(folders: Folders) -> None:
    for name, plugin_id in {"1": "Echo", "2": "echo", "3": "ECHO"}.items():
        folders.write(name, manifest_of(plugin_id))
    assert folders.owners() == {"Echo": "1", "2": "2!", "3": "3!"}
    assert folders.owners(ECHO=folders.root / "3") == {"ECHO": "3", "1": "1!", "2": "2!"}


def test_a_broken_manifest_keeps_the_id_under_which_it_is_published(folders: Folders) -> None:
    path = folders.write("folder", manifest_of("echo"))
    other = folders.write("other", manifest_of("echo2"))
    published = {"echo": path, "echo2": other}
    path.joinpath("plugin.toml").write_text(BROKEN)
    assert folders.owners(**published) == {"echo": "folder!", "echo2": "other"}
    # nor does a claim to another's id make it lose its own
    path.joinpath("plugin.toml").write_text(manifest_of("echo2"))
    assert folders.owners(**published) == {"echo": "folder!", "echo2": "other"}
    # nor one that others lay to its own, by a manifest or by a folder's name
    path.joinpath("plugin.toml").write_text(BROKEN)
    other.joinpath("plugin.toml").write_text(manifest_of("echo"))
    folders.write("echo", None)
    assert folders.owners(echo=path) == {"echo": "folder!", "other": "other!", "echo\\": "echo!"}


def test_breaking_a_manifest_never_hands_its_id_to_another(folders: Folders) -> None:
    path = folders.write("echo", manifest_of("echo"))
    folders.write("a", manifest_of("echo"))
    assert folders.owners() == {"echo": "echo", "a": "a!"}
    path.joinpath("plugin.toml").write_text(BROKEN)
    assert folders.owners() == {"echo": "echo!", "a": "a!"}


def test_an_empty_folder_takes_no_published_id(folders: Folders) -> None:
    path = folders.write("folder", manifest_of("echo"))
    folders.write("echo", None)
    assert folders.owners() == {"echo": "echo!", "folder": "folder!"}
    assert folders.owners(echo=path) == {"echo": "folder", "echo\\": "echo!"}


@pytest.mark.parametrize("name", [*RESERVED_IDS, "PlugVisor", "ALL"])
def test_a_broken_folder_is_never_taken_for_the_service_itself(folders: Folders, name: str) -> None:
    folders.write(name, None)  # stopping the plugin of this id would stop the service
    assert folders.owners() == {f"{name}\\": f"{name}!"}
    folders.root.joinpath(name, "plugin.toml").write_text(manifest_of("echo"))
    assert folders.owners() == {"echo": name}


def test_no_two_names_read_alike(folders: Folders) -> None:
    names = [b"\xff", rb"\x{dcff}", rb"\\x{dcff}", b"x{dcff}", b"x{dcff}\\", b"\x80", b"\xc2\x80", b"\n", b":"]
    for name in names:
        folders.write(name, None)
    catalog = folders.load()
    assert len(catalog) == len(names)
    # an id is sent to supervisord in XML, which cannot hold control characters
    assert all(plugin_id.isprintable() for plugin_id in catalog)


def test_a_broken_folder_is_never_taken_for_another_plugins_process(folders: Folders) -> None:
    folders.write("echo:echo", None)  # which is what supervisord calls the process of echo
    assert folders.owners() == {r"echo\x{3a}echo": r"echo\x{3a}echo!"}


def test_a_published_plugin_without_a_folder_is_still_there(folders: Folders) -> None:
    gone = Plugin("gone", None, problem="no folder has a manifest of this id any more")
    assert folders.load(gone=folders.root / "gone") == {"gone": gone}
    assert folders.load(gone=None) == {"gone": gone}
    assert (gone.name_of_folder, gone.enabled) == ("", False)
    # the folder's manifest has another id now
    path = folders.write("folder", manifest_of("new"))
    assert folders.owners(old=path) == {"new": "folder", "old": "!"}


NAMES = ["a", "A", "b", "B", "plugvisor", "ß", "ss", "a\\", "\\a", "\udcff", "\\xff", "xff", "中 文", "a\nb"]
IDS = ["a", "A", "b", "xff", "ss", "c"]
MANIFESTS = [None, BROKEN, *map(manifest_of, IDS), manifest_of("a", "no-such-command"), manifest_of("plugvisor")]


@given(
    folders=st.dictionaries(st.sampled_from(NAMES), st.sampled_from(MANIFESTS), max_size=8),
    published=st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*IDS, "gone"])),
)
def test_every_folder_is_listed_once_under_an_id_of_its_own(
    folders: dict[str, str | None], published: dict[str, str]
) -> None:
    root = Path(tempfile.mkdtemp(prefix="pv-"))
    try:
        written = {Folders(root).write(name, manifest) for name, manifest in folders.items()}
        ids = {plugin_id: root / name for name, plugin_id in published.items()}
        catalog = Folders(root).load(**ids)
    finally:
        shutil.rmtree(root)

    assert {key: plugin.id for key, plugin in catalog.items()} == {key: key for key in catalog}
    assert list(catalog) == sorted(catalog)
    listed = {plugin.folder: plugin for plugin in catalog.values() if plugin.folder}
    assert listed.keys() == written
    assert len(catalog) == len(listed) + sum(plugin.folder is None for plugin in catalog.values())
    assert not RESERVED_IDS.keys() & catalog.keys()
    assert all((plugin.program is None) == bool(plugin.problem) for plugin in catalog.values())
    usable = [plugin.id for plugin in catalog.values() if plugin.program]
    assert len({plugin_id.casefold() for plugin_id in usable}) == len(usable)
    assert ids.keys() <= catalog.keys(), "whatever runs is still there"
    for plugin_id, folder in ids.items():
        has_another_id = folder in listed and listed[folder].manifest and listed[folder].id != plugin_id
        is_disputed = {plugin_id, plugin_id.swapcase()} <= ids.keys()
        if folder in listed and not has_another_id and not is_disputed:
            assert catalog[plugin_id].folder == folder, "what is published keeps its id"
