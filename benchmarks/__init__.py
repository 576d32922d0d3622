"""Plugvisor measured beside the same work done the plain way: `scripts/bench`, or `python -m benchmarks`.

A figure of one machine says little, so each stands beside another of the same run and what counts is
their ratio. Three plain ways are used: a bare Starlette route that sends the same bytes, a Starlette
route that asks supervisord once per request, and a stock supervisord by XML-RPC and `supervisorctl`.

A measurement is a function that takes a `Stage` and yields `Figure`s; `__main__.MEASUREMENTS` lists them.
"""
