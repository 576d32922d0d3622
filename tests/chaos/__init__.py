"""Random operations and faults on real Plugvisors, from a seed: `scripts/chaos --seconds 1800 --seed 7`.

A run is a row of rounds. In each, several clients do what the seed says, at the same time; then everything comes to
rest. What must hold, and is checked all the while against the system's own list of processes:

1. A plugin never has two main processes at a time, and what is left of an earlier launch is ended within 2 seconds of
   the next.
2. Once a stop was answered, nothing of the plugin is alive, until something starts it.
3. A start or reload that was answered has spawned one process, and names it.
4. At rest, the API, supervisord and the system say the same of every plugin, and no orphan is left.
5. Every read is answered within 5 seconds, every change within 120 seconds; one of a plugin that obeys, and to which
   nothing else is done, within 5 seconds and without SIGKILL. No connection is ever refused, and none is dropped
   unless the service was killed.
6. A plugin that ran, and that nobody stopped, runs. No error is answered that has no reason, no stack trace is
   logged, supervisord goes on, and the service ends only if it is killed. A run folder that is deleted is back within
   15 seconds. A start that was answered with 202, and to which nothing else is done, happens. What is above its memory
   limit, or fails its `alive` check, is ended and started again, and a crash loop ends after `max_restarts`.
7. No plugin gets the service's port, or a request with the admin code. If the plugins have a user of their own, none
   deletes anything in the run folder.
8. A plugin never starts before what it requires: at boot, by a start, by a reload, and by what depends on it. Three
   kinds of starts do not wait: a restart of what has ended by itself, a start that supervisord repeats because it
   failed, and what supervisorctl starts.
9. At rest, the intent that is shown of a plugin is that of the last start, stop or reload which succeeded, or of the
   stop of one that did not run, and the store's file says the same. A store that was broken works again within 15
   seconds. After the last round everything is stopped and started again: what was wanted runs, and what was stopped or
   disabled does not.
10. A watched plugin that runs, runs what was saved last, within 40 seconds at rest, unless its manifest is invalid, it
   is disabled, or it says that watching is suspended; one that was saved while the service was away, when it is saved
   again. A save starts nothing that was stopped.
11. A plugin that has a variable from a file was started with a value that was there, which is written nowhere.
12. `plugvisor logs -f` prints each line of a log once, and `plugvisor ls --watch` shows what the API does, whatever
   happened to the service meanwhile; they end only with the test.

The seed decides what is done, not how the processes are scheduled, so a failure may need more than one try to come
again: `--first-round N` begins at the round that failed, `--shrink` looks for fewer operations that fail too. As root,
`--users daemon,games` runs the service and the plugins as these users; they must be able to execute this Python.

cast/            the plugins: `plugins` has one of every behaviour, `hostile` those that attack the others and the
                 service, `lifecycle` those with checks, dependencies, restart policies and limits, `authored` those
                 that are watched, have a variable from a file, or a log that is followed; `cast` says which plugins and
                 kinds of operations a run has, and `--without` leaves out any of the newer ones
operations       what is done in a round, from the seed
clients          who do it, and check the answers (3, 5, 6)
faults           what no client can do: signals, a deleted run folder, edited manifests
author           who saves files, and changes those of variables (10, 11)
requirements     which plugins require which
activity         what is being done to each plugin, from which follows what may be alive
promises/        `process_watcher` looks at the system's processes all the while (1, 2); `start_order` compares every
                 launch, by `supervisord_log`, with what was required (8); `intents` remembers what was answered,
                 `boot` compares that with what is started (9); `rest` is what must hold at rest (4, 6, 7); `followers`
                 are commands that run all the while (12)
run              playing rounds on one Plugvisor
side_by_side     on several; `__main__` is the command
"""
