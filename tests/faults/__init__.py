"""Schedules of faults between the gateway and the IC, and an oracle.

    clients  <-  gateway  <-  proxies, each an endpoint  <-  local network  <-  canister with a log
    (clients.py)              (proxy.py, kinds/)                                (canister.py)

A fault is a function in `kinds` that answers a request as it likes (`proxy.Exchange`). A schedule says which endpoint
shows which fault when (`schedule`); it follows from its name. The harness runs one, and the oracle compares the log of
the canister with what the clients saw: every message arrives exactly once and in order, or the session is closed with a
code that lets the client come back. To run one, a few or all::

    python -m tests.faults latency/talking
    python -m tests.faults 'certificate_*/*' 'mixed/*'
    make soak
"""
