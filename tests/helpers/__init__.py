"""What tests share, one noun for each module.

accessibility    `check_accessibility`: axe finds nothing, and nothing is wider than the window
admin_sockets    clients of the WebSocket that the dialect's front end opens
connection_load  `ConnectionLoad`: new connections at a steady rate, and what became of each
dependent_plugins `Setup`, a manager with plugins that depend on each other
environments     `Builder`, which makes environments from wheels of the test's
event_client     `EventClient`, which keeps every event of `GET /events` or of a log stream
event_hubs       the hub of `GET /events` by itself, its `Page`s, and what it takes its events from
fake_engine      `FakeEngine`, an engine in memory that does what the test says
fake_supervisor  `FakeSupervisor`, the two sockets of a supervisord: XML-RPC and the state stream
front_end_server `serve_front_end`: a built front end from another origin
hostile_packages `HOSTILE`: packages that must be refused, and what the errors say
hostile_strings  strategies for strings that mean something to a shell, to supervisord or to whoever quotes them
log_clients      clients that follow a plugin's log, by events or by a WebSocket
managers         a manager with one plugin in a folder; `Plugins`, that folder
manifests        `make_manifest`, with defaults
package_answers  what a service answers to the commands that install plugins
packages         `make_package`, an archive of files; `make_plugin_package`, one that can be installed
page             Chromium, the page's texts and rows, and `Appearance`: language, theme and width
page_events      `PageEvents`: what the page shows, from the test in place of `GET /events`; `make_item`
plugin_code      the code of plugins: one that obeys, one that takes its time, one that ignores SIGTERM
plugin_processes `find_plugin`: the processes of a plugin, in whichever container they run
ports            `find_free_port`, which no other worker gets
printer_plugin   `PRINTER`, a plugin that prints what a test has it print
processes        processes as the system sees them: which are alive, which belong to a folder, what they have used
raw_archives     zips and tars byte for byte, with lies in them
raw_http         requests byte for byte, and their responses
requirements     `skip_or_fail`, where a test needs what only some machines have
scenarios        `run_scenario`, which runs a coroutine to its end; `wait_until` inside of it
stack            `PlugvisorStack`: `plugvisor up` in a folder of its own, with real plugins and sockets; `run_stack`
supervisorctl    `run_supervisorctl`, in the test's own process
supervisord      `Supervisord`: supervisord with the extension and without the service; a reader of its state stream
swarm            `SwarmLab`, a swarm of several nodes on this machine; `SwarmStack`, a Plugvisor over it
waiting          `wait_for` a condition, with a deadline
"""
