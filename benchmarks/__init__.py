"""Plugvisor measured next to the same work done another way: `scripts/bench`, or `python -m benchmarks`.

An absolute value depends on the machine. Each result therefore stands next to a reference that was measured in the
same run, and the ratio of the two is what counts. The references are a bare Starlette route that sends the same bytes,
an XML-RPC call to the same supervisord, a supervisord without Plugvisor, and a loop that spawns or kills processes.

`systems/` starts and stops what is measured. `groups/` measures: each module has one function that takes a `Testbed`
and yields `Result`s. `__main__.GROUPS` lists them.
"""
