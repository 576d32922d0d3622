"""What tests share, one noun for each module.

stack          `PlugvisorStack`: `plugvisor up` in a folder of its own, with real plugins and sockets; `run_stack`
plugin_code    the code of plugins: one that obeys, one that takes its time, one that ignores SIGTERM
processes      processes as the system sees them: which are alive, which belong to a folder, what they have used
ports          `find_free_port`, which no other worker gets
supervisorctl  `run_supervisorctl`, in the test's own process
waiting        `wait_for` a condition, with a deadline
"""
