"""The page of the API: every operation with its role, every kind of problem."""

import inspect
from itertools import groupby

from appliance.control.app import operations
from appliance.control.http import problems
from appliance.control.http.problems import TYPE, Problem
from appliance.control.routes.routing import ROLE, Operation

_INTRODUCTION = """\
# API

The HTTP API inspects and changes a running gateway. The gateway serves it at `control.listen`, apart from the sockets
of clients. `/openapi.json` describes all of it as OpenAPI 3.1, with models and examples, and `/docs` in a browser has a
form for each operation, which it can send or write as a `curl` command. This page is generated from the same code
(`make docs`).

```
curl --unix-socket data/control.sock http://localhost/v1/status
curl --unix-socket data/control.sock http://localhost/v1/sessions?canister=chat
curl --unix-socket data/control.sock --json '{"filter": {"address": "203.0.113.0/24"}, "dry_run": true}' \\
    http://localhost/v1/sessions/close
```

## Access

- **Unix socket** (the default): every user who may write to the socket file (`control.group`, `control.mode`) is an
  admin. The audit log has the name of the user.
- **TCP**: requests need a token, `Authorization: Bearer icws_…`. Each line of the file `control.tokens` has a name, a
  role and the SHA-256 of a token; `POST /v1/tokens` and `icws tokens add` write it. The gateway reads it again when it
  changes. There is no TLS: use a proxy with TLS in networks that you do not trust.
- On both, the `Host` of a request must be an IP address, `localhost` or one of `control.hosts`, and requests from pages
  of other sites are refused. So it is safe to forward the socket to a port of your machine
  (`ssh -L 8081:/run/icws/control.sock host`): web sites that you visit cannot use it.
- `/livez`, `/readyz` and `/startupz` without a query are for everybody, with any `Host` or none, as monitors ask.

Each role includes those before it: `viewer` reads, `operator` acts on sessions, canisters, drains and the log, `admin`
changes the configuration and the tokens. GET and HEAD change nothing. Every change, and every refused attempt, is in
the audit log: in memory (`GET /v1/audit`) and in `audit.jsonl` in the folder `control.history`.

## Responses

Responses are JSON. Times are RFC 3339 in UTC, durations are seconds. Later versions may add fields: ignore those that
you do not know. Errors are problem details (RFC 9457), `application/problem+json`: `type` is one of those below and
does not change, `detail` is a sentence with the details, and `errors` has place, key and problem of each mistake in a
configuration. `GET /v1/config` has an `ETag`; an apply with `If-Match` is refused if the configuration has changed
since.

`GET /v1/events` is a stream of server-sent events. After a disconnect it continues at `Last-Event-ID`; an event `lost`
says that the client was too slow to get all events.

In a [cluster](scaling.md#asking-every-node), `?node=NAME` has another node do what is asked. With lists of sessions,
one of them, and closing, `?node=*` means all nodes (`x-nodes` in the OpenAPI), and `missing` names those that did not
answer.

With several [workers](scaling.md#workers), `?worker=2` asks one of them alone: for what it knows, to close its
sessions, and to drain it. All other changes are made by all workers or by none.
"""


def render_api() -> str:
    """The whole page."""
    every = sorted(operations(), key=_place)
    lines = [_INTRODUCTION]
    for tag, group in groupby(every, key=lambda operation: str(operation.tags[0])):
        lines += [f"## {tag.capitalize()}", "", "| request | operation | role | meaning |", "| --- | --- | --- | --- |"]
        lines += [_row(operation) for operation in group]
        lines.append("")
    lines += ["## Problems", "", "| status | `type` | meaning |", "| --- | --- | --- |", *_problems(), ""]
    return "\n".join(lines)


def _place(operation: Operation) -> tuple[str, str, str]:
    return str(operation.tags[0]), operation.path_format, _method(operation)


def _row(operation: Operation) -> str:
    what = _prose(operation.endpoint)
    role = (operation.openapi_extra or {})[ROLE]
    return f"| `{_method(operation)} {operation.path_format}` | `{operation.operation_id}` | {role} | {what} |"


def _method(operation: Operation) -> str:
    return next(iter(operation.methods or ("GET",)))


def _problems() -> list[str]:
    found = {each for each in vars(problems).values() if isinstance(each, type) and issubclass(each, Problem)}
    ordered = sorted(found, key=lambda kind: (kind.status, kind.kind))
    return [f"| {kind.status} | `{TYPE}{kind.kind}` | {_prose(kind)} |" for kind in ordered]


def _prose(subject: object) -> str:
    return " ".join((inspect.getdoc(subject) or "").split()).replace("``", "`")
