"""What tests share, one noun for each module.

fake_engine      `FakeEngine`, an engine in memory that does what the test says
fake_supervisor  `FakeSupervisor`, the two sockets of a supervisord: XML-RPC and the state stream
manifests        `make_manifest`, with defaults
scenarios        `run_scenario`, which runs a coroutine to its end; `wait_until` inside of it
"""
