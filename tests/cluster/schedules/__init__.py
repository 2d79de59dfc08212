"""Schedules of faults among the nodes of a cluster and their engine, and an oracle.

    clients  <-  three nodes  <-  local network whose calls take a second  <-  canisters with a log
    (clients.py)  (nodes.py)                                                   (canister.py)
                      |
              wires that can be cut (wire.py)
                      |
                an engine (engines.py), and each other's peer address

Nodes are processes (``icws run``), the engine is a process, sockets are sockets. A fault (`faults`) strikes, waits
until something has come of it, heals, and waits until that has come to its end, while clients of all generations talk.
A schedule (`schedule`) says which faults strike whom in which order; it follows from its name. In the end the oracle
compares the logs of the canisters with what the clients saw. To run one, a few or all::

    python -m tests.cluster.schedules killed/1
    python -m tests.cluster.schedules 'engine_*/*'
    make cluster-soak
"""
