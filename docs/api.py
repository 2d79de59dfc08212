"""The page of the API: every operation with its role, every kind of problem."""

import inspect
from itertools import groupby

from appliance.control.app import operations
from appliance.control.http import problems
from appliance.control.http.problems import TYPE, Problem
from appliance.control.routes.routing import ROLE, Operation

_INTRODUCTION = """\
# API

Everything that can be seen and done at a running gateway, over HTTP. It is served at `control.listen`, in the process
of the gateway and apart from its clients. `/openapi.json` has all of it as OpenAPI 3.1, with models and examples; this
page is made from the same code (`make docs`).

```
curl --unix-socket data/control.sock http://localhost/v1/status
curl --unix-socket data/control.sock http://localhost/v1/sessions?canister=chat
curl --unix-socket data/control.sock --json '{"filter": {"address": "203.0.113.0/24"}, "dry_run": true}' \\
    http://localhost/v1/sessions/close
```

## Who may

- **Unix socket** (the default): whoever may write to the socket file, which has mode 0660, is an admin. The audit log
  has the name of the user.
- **TCP**, where `control.listen` says so: a token is needed, `Authorization: Bearer icws_…`. `control.tokens` is a file
  with a name, a role and the SHA-256 of the token in each line; `POST /v1/tokens` or `icws tokens add` writes it. It is
  read again whenever it changes. There is no TLS: put a proxy in front where the network is not yours alone.
- On both, requests have to name an address, `localhost` or one of `control.hosts` as their host, and what a page of
  another site sends is refused. So a socket that is forwarded to a port (`ssh -L 8081:/run/icws/control.sock host`) is
  of no use to the sites that you visit.

A role does what those before it may: `viewer` looks, `operator` acts on sessions, canisters, drains and the log,
`admin` changes the configuration and the tokens. Nothing is changed by GET. Every change, and every attempt that was
refused, is in the audit log: in memory (`GET /v1/audit`) and in `audit.jsonl` in the folder of the history.

## How it answers

JSON; times are RFC 3339 in UTC, durations seconds. Answers may grow: ignore what you do not know. What goes wrong is
told as problem details (RFC 9457), `application/problem+json`; `type` is one of those below and stays the same,
`detail` is a sentence about the case, and `errors` has place, key and problem of each fault. `GET /v1/config` has an
`ETag`; with `If-Match` an apply is refused where somebody else was faster.

`GET /v1/events` is a stream of server-sent events that goes on where it was broken off (`Last-Event-ID`), and says so
where a listener was too slow (`lost`).
"""


def render_api() -> str:
    """The whole page."""
    every = sorted(operations(), key=_place)
    lines = [_INTRODUCTION]
    for tag, group in groupby(every, key=lambda operation: str(operation.tags[0])):
        lines += [f"## {tag.capitalize()}", "", "| | | role | |", "| --- | --- | --- | --- |"]
        lines += [_row(operation) for operation in group]
        lines.append("")
    lines += ["## Problems", "", "| status | `type` | when |", "| --- | --- | --- |", *_problems(), ""]
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
