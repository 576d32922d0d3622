"""Reading checks, dependencies, the restart policy and limits: forms, rules, and the line that an error names."""

import pytest
from plugvisor.models.lifecycle import Check, Limits, Placement, Requirement, Restart
from plugvisor.models.manifest import Manifest, ManifestError
from plugvisor.plugins.manifest import parse_manifest

PLUGIN = '[plugin]\nid = "echo"\ncommand = ["true"]\n'
CHECK = "[plugin_runtime.checks.web]\n"
DEPENDS_ON = "[plugin_runtime.depends_on.db]\n"
RESTART = "[plugin_runtime.restart]\n"
LIMITS = "[plugin_runtime.limits]\n"
PLACEMENT = "[plugin_runtime.placement]\n"
CONSTRAINT_RULE = "`constraints` must be a list of constraints such as node.role == worker, with `==` or `!=`"
MEMORY_RULE = "`memory` must be a whole number of bytes greater than 0, or a string such as 512M, with K, M or G"
URL_RULE = (
    "`http` must be an http:// or https:// URL with a host, a port from 1 to 65535 if any, and no user and password"
)
UNKNOWN = "there is no key"
TABLE = "must be a table: write [plugin_runtime."
ADDRESS_RULE = "`tcp` must look like host:port, or [address]:port for IPv6, with a port from 1 to 65535"


def parse(text: str) -> Manifest:
    return parse_manifest((PLUGIN + text).encode())


def test_everything() -> None:
    manifest = parse(
        "[plugin_runtime]\ncritical = true\nreplicas = 3\n"
        f"{CHECK}http = 'http://127.0.0.1:8080/ok'\nperiod = 0.2\ntimeout = 1\nthreshold = 2\nstartup = 0\n"
        f"level = 'alive'\non_failure = 'stop'\n"
        f"{DEPENDS_ON}condition = 'completed'\nrequired = false\n"
        f"{RESTART}delay = 1\nfactor = 1.5\nmax_delay = 10\nreset_after = 5\nmax_restarts = 3\nwindow = 60\n"
        f"{LIMITS}memory = '512M'\ncpus = 1.5\nprocesses = 64\nopen_files = 1024\n"
        f"{PLACEMENT}constraints = ['node.labels.gpu == true', 'node.role!=manager']\nmax_per_node = 1\n"
    )
    assert manifest.replicas == 3
    assert manifest.placement == Placement(("node.labels.gpu == true", "node.role!=manager"), 1)
    assert manifest.critical
    web = Check("http://127.0.0.1:8080/ok", "", (), "alive", 0.2, 1.0, 2, 0.0, "stop")
    assert manifest.checks == {"web": web}
    assert manifest.depends_on == {"db": Requirement("completed", required=False)}
    assert manifest.restart == Restart(1.0, 1.5, 10.0, 5.0, 3, 60.0)
    assert manifest.limits == Limits(512 * 1024**2, 1.5, 64, 1024)


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("'1'", 1), ("'3K'", 3072), ("'2G'", 2 * 1024**3)])
def test_an_amount_of_memory(text: str, expected: int) -> None:
    assert parse(f"{LIMITS}memory = {text}").limits.memory == expected


@pytest.mark.parametrize("command", ["['python', 'my probe.py']", "\"python 'my probe.py'\""])
def test_the_command_of_a_check(command: str) -> None:
    assert parse(f"{CHECK}exec = {command}").checks["web"].exec == ("python", "my probe.py")


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (f"{CHECK}tcp = 'a:1'\nperod = 3", 6, f"{UNKNOWN} `perod` in [plugin_runtime.checks.web]; did you mean"),
        (f"{RESTART}Max-Delay = 3", 5, f"{UNKNOWN} `Max-Delay` in [plugin_runtime.restart]; did you mean `max_delay`?"),
        (f"{LIMITS}hunter2 = 1", 5, "there is no such key in [plugin_runtime.limits]; the keys are: memory, cpus"),
        (f'{RESTART}"de\\nlay" = 3', 5, "there is no such key in [plugin_runtime.restart]; the keys are: delay"),
        (CHECK, 4, "[plugin_runtime.checks.web] needs one of `http`, `tcp` and `exec`"),
        (f"{CHECK}tcp = 'a:1'\nexec = 'x'", 4, "[plugin_runtime.checks.web] has more than one of `http`, `tcp`"),
        *((f"{CHECK}http = '{url}'", 5, URL_RULE) for url in (
            "ftp://a/", "http://", "http://user:secret@a/", "http://a:0/", "http://a:65536/", "http://a/ b", "a:1",
        )),
        *((f"{CHECK}tcp = '{address}'", 5, ADDRESS_RULE) for address in ("a", ":1", "a:", "a:65536", "::1:80", "a:1/")),
        (f"{CHECK}tcp = '[1:2]:80'", 5, "`tcp` has an IPv6 address that is invalid"),
        (f"{CHECK}http = 'http://[:::]/'", 5, "`http` has an IPv6 address that is invalid"),
        (f"{CHECK}exec = []", 5, "`exec` must be a list of strings, or one string, not empty"),
        (f"{CHECK}exec = ['a\\u0000']".replace("'", '"'), 5, "`exec` must be a list of strings"),
        (f"{CHECK}exec = ''", 5, "`exec` must be a list of strings"),
        (f"{CHECK}exec = ['']", 5, "the first word of `exec` is empty"),
        (f"{CHECK}exec = \"a 'b\"", 5, "`exec` cannot be split into words: no closing quotation"),
        (f"{CHECK}exec = 'x'\nperiod = nan", 6, "`period` must be a number from 0.05 to 86400"),
        (f"{CHECK}exec = 'x'\non_failure = 'x'", 6, "`on_failure` must be one of none, restart, stop"),
        ("[plugin_runtime.checks.'a b']\nexec = 'x'", 4, "the name of a check must be 1 to 64 letters"),
        ("[plugin_runtime.checks]\nweb = 1", 5, f"[plugin_runtime.checks.web] {TABLE}checks.<name>] for each check"),
        ("[plugin_runtime]\nchecks = 1", 5, f"[plugin_runtime.checks] {TABLE}checks.<name>] for each check"),
        ("[plugin_runtime]\ndepends_on = ['a']", 5, f"[plugin_runtime.depends_on] {TABLE}depends_on.<id>] for each"),
        ("[plugin_runtime.depends_on.echo]", 4, "a plugin cannot depend on itself"),
        ("[plugin_runtime.depends_on.'-']", 4, "the id of a dependency must be 1 to 64 letters"),
        (f"{DEPENDS_ON}condition = 1", 5, "`condition` must be one of completed, ready, started"),
        (f"{RESTART}factor = 0.5", 5, "`factor` must be a number from 1 to 100"),
        (f"{RESTART}delay = -1", 5, "`delay` must be a number from 0 to 86400"),
        *((f"{LIMITS}memory = {memory}", 5, MEMORY_RULE) for memory in (
            0, "'0'", "'1T'", "'1.5G'", "true", 1.5, "'9999999999999999G'",
        )),
        (f"{LIMITS}cpus = 0", 5, "`cpus` must be a number from 0.01 to 10000"),
        (f"{LIMITS}processes = 0", 5, "`processes` must be a whole number from 1 to 1000000"),
        ("[plugin_runtime]\ncritical = 1", 5, "`critical` must be true or false"),
        *((f"[plugin_runtime]\nreplicas = {count}", 5, "`replicas` must be a whole number from 1 to 10000")
          for count in (0, 10_001, 1.5, "'2'", "true")),
        ("[plugin_runtime]\nplacement = 1", 5, "[plugin_runtime.placement] must be a table"),
        (f"{PLACEMENT}constraint = []", 5, f"{UNKNOWN} `constraint` in [plugin_runtime.placement]; did you mean `cons"),
        (f"{PLACEMENT}max_per_node = -1", 5, "`max_per_node` must be a whole number from 0 to 10000"),
        *((f"{PLACEMENT}constraints = {value}", 5, CONSTRAINT_RULE) for value in (
            "'node.role == worker'", "['secret']", "['node.role = worker']", "['node.role == ']", "['a.b == c']", "[1]",
            "['node.hostname == {{.Node.Hostname}}']", "['node.role == a==b']", "['node.labels.x == é']",
        )),
    ],
)  # fmt: skip
def test_what_is_invalid(text: str, line: int, problem: str) -> None:
    with pytest.raises(ManifestError) as caught:
        parse(text)
    assert caught.value.problem.startswith(problem)
    assert caught.value.line == line
    assert "secret" not in str(caught.value)


# -- dependencies in the metadata


def test_a_dependency_with_an_id_is_required() -> None:
    manifest = parse("[[plugin.dependency]]\nid = 'db'\nsupported = '>=1'\n[[plugin.dependency]]\nentry = 'a:b'\n")
    assert manifest.depends_on == {"db": Requirement()}
    assert manifest.warnings == ()


def test_the_table_decides_if_it_is_there_too() -> None:
    manifest = parse(f"[[plugin.dependency]]\nid = 'db'\n{DEPENDS_ON}required = false\n")
    assert manifest.depends_on == {"db": Requirement(required=False)}


@pytest.mark.parametrize(
    ("dependency", "warning"),
    [
        ("id = '-'", "plugin.toml line 4: the `id` of a [[plugin.dependency]] is not an id, and is ignored"),
        ("id = 'echo'", "plugin.toml line 4: a [[plugin.dependency]] names the plugin itself, and is ignored"),
    ],
)
def test_a_dependency_that_cannot_be_one_is_ignored(dependency: str, warning: str) -> None:
    manifest = parse(f"[[plugin.dependency]]\n{dependency}\n")
    assert (manifest.depends_on, manifest.warnings) == ({}, (warning,))
    assert len(manifest.metadata.dependencies) == 1, "it is listed as it was"


@pytest.mark.parametrize(
    "key", ["recommended = '^1'", "supported = '1.x'", "untested = '?'", "conflicts = ['<1', 'x']"]
)
def test_a_range_that_cannot_be_read_is_ignored(key: str) -> None:
    manifest = parse(f"[[plugin.dependency]]\nid = 'db'\n{key}\n")
    assert manifest.depends_on == {"db": Requirement()}
    [warning] = manifest.warnings
    name = key.split(maxsplit=1)[0]
    assert warning == (
        f"plugin.toml line 4: `{name}` of the [[plugin.dependency]] 'db' is no range of versions by PEP 440, "
        "and is ignored"
    )
