"""Random operations and faults on a Plugvisor over a real swarm of three nodes: `scripts/chaos --engine swarm`.

The promises are those of `tests.chaos`, as far as a swarm can keep them. A *side* is what can talk to each other:
while a node is cut off, its Engine is frozen, or the swarm has lost it for whatever reason, it is a side of its own,
and the others are one; and that is so until `SETTLE_SECONDS` after the end of that. Without a fault there is one side.

1. On each side a plugin never has more containers than replicas with living processes, also during a reload or a drain;
   unless an operator has just removed or scaled its service by hand, for which the swarm waits for nothing.
2. Once a stop was answered, and there is no fault, nothing of the plugin is alive, until something starts it.
3. A start or reload that was answered has made one new container, and names its node.
4. Within `SETTLE_SECONDS` of the last heal the API, the swarm and the kernel say the same of every plugin, every node
   is ready, and who follows `/events` knows the same as who asks.
5. Every read is answered within 5 seconds, with 200 or, if no manager answers, 503 in words; every change within 120
   seconds. One of a plugin that obeys, and to which nothing else is done, within 15 seconds.
6. A plugin that ran, and that nobody stopped, runs; one that was stopped does not. No error is answered that has no
   reason, no stack trace is logged, and the service ends only if it is killed.

Services, configs and secrets of somebody else are there all the while, and must be as they were.

cast           the plugins, and how often each kind of operation and fault comes
rounds         what is done in a round, from the seed
activity       what is being done to each plugin, from which follows what may be alive, and what must run at rest
containers     looks at the control groups of every node all the while (1, 2); asks no Engine
clients        do the operations, and check the answers (3, 5, 6)
folders        edited, broken, removed and added again by somebody
faults         befall the nodes and the service
follower       follows `/events`, and comes back when its connection breaks
node_events    hears from the managers which nodes the swarm has lost
foreign        what somebody else has on the swarm
rest           what must hold at rest (4, 6)
run            playing rounds on one lab
"""
