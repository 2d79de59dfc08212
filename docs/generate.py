"""Writes what is made from the code: ``gateway.yaml``, and in ``docs`` the pages of keys, the API, close codes,
generations and metrics, with a dashboard and alerts.

``python -m docs.generate`` from the top folder; the tests compare the files with what it would write.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from appliance.config.render.describe import render_markdown, render_yaml
from appliance.errors import GatewayError, TooLarge, error_classes
from appliance.protocol.generations import SESSIONS
from appliance.protocol.session import draw
from docs.alerts import render_alerts
from docs.api import render_api
from docs.grafana import render_grafana
from docs.metrics import render_metrics

_INTRODUCTION = """\
# Close codes

Why the gateway closed a socket. The reason that comes with the code is a sentence with the facts of the case. Codes
from 4000 to 4499 mean "come back", codes from 4500 to 4999 "do not, the same thing will fail again". This page is made
from `appliance/errors/` (`make docs`).

| code | come back | `reason` in logs | when |
| --- | --- | --- | --- |
| 1000, 1001 | as you like | | The client closed; the gateway answers with the same code. |
| 1002, 1007 | no | | What came is not the WebSocket protocol (RFC 6455). |
"""

_GENERATIONS = """\
# Wire generations

Clients and canisters speak one of three wire formats; the gateway serves all of them at the same time. Which one a
socket speaks is decided before its first message, never guessed:

| where | what is spoken |
| --- | --- |
| `/v0`, `/v1`, `/v2` | that generation |
| `/canister/NAME` | the `generation` of that canister in the configuration, which is then the only one to talk to |
| `/` | `gateway.generation`, which is v2 if not set; at a further address its own `generation` |

A canister serves clients of the generation that its `generation` in the configuration names; one of v1 may serve v2 too
(`[v1, v2]`), with one poller. A client that is of another generation than its address or its canister is closed with
4514, or with 4105 where it waits for a greeting that does not come, and the reason says where it belongs.

| | v0 | v1 | v2 |
| --- | --- | --- | --- |
| clients | the SDK of July 2023 | ic-websocket-js 0.1, 0.2 | ic-websocket-js 0.3 to 0.5 |
| canisters | the CDK of July 2023 | ic-websocket-cdk 0.1, 0.2 | ic-websocket-cdk 0.3 and later |
| who speaks first | the client | the client | the gateway, with its principal |
| clients sign with | an Ed25519 key, registered by `ws_register` before | any identity of the IC | as v1 |
| who calls the canister | the gateway, with what the client signed | the client, through the gateway | as v1 |
| the gateway is known to the canister | by its installation | by its installation | by each client's `ws_open` |
| confirmation | text frame `1` or `0` | the canister's first message | as v1 |
| acknowledgements | none | every 60 s | every 5 min |
| a replayed message | has a sequence number or a time of before | has a request id of before | as v1 |

The diagrams below are drawn from the tables that the sessions follow: an input that a state does not have closes the
socket. After any close `ws_close` is called if the canister may know the client. This page is made by `make docs`.
"""

_REGISTERED = {1003: "no", 1009: "no", 1011: "yes, later", 1012: "yes", 1013: "yes, later"}
_MEANINGS = {
    GatewayError: "The gateway itself failed; its log says why.",
    TooLarge: "A message exceeds the limit that the reason names.",
}


def render_close_codes() -> str:
    """The table of close codes, in order, one line for each error."""
    return _INTRODUCTION + "".join(f"{row}\n" for row in _rows())


def render_generations() -> str:
    """What each wire generation looks like from the gateway, with the state machine of its sessions."""
    chapters = (
        f"\n## {name}\n\n{_prose(session)}\n\n```mermaid\n{draw(session)}```\n" for name, session in SESSIONS.items()
    )
    return _GENERATIONS + "".join(chapters)


def files() -> Mapping[Path, str]:
    """What is to be where."""
    top = Path(__file__).resolve().parent.parent
    return {
        top / "gateway.yaml": render_yaml(),
        top / "docs" / "configuration.md": render_markdown(),
        top / "docs" / "api.md": render_api(),
        top / "docs" / "close-codes.md": render_close_codes(),
        top / "docs" / "generations.md": render_generations(),
        top / "docs" / "metrics.md": render_metrics(),
        top / "docs" / "grafana.json": render_grafana(),
        top / "docs" / "alerts.yaml": render_alerts(),
    }


def _rows() -> Iterator[str]:
    closing = {error for error in error_classes() if error.close_code != GatewayError.close_code} | {GatewayError}
    ordered = sorted(closing, key=lambda error: (error.close_code, error.reason, error.__name__))
    for (code, reason), errors in groupby(ordered, key=lambda error: (error.close_code, error.reason)):
        back = _REGISTERED.get(code) or ("yes" if code < 4500 else "no")
        # Subclasses that a client cannot tell from their parent by code and label are no news to readers.
        group = list(errors)
        meaning = " ".join(_MEANINGS.get(each) or _first_sentence(each) for each in group if each.__base__ not in group)
        yield f"| {code} | {back} | `{reason}` | {meaning} |"


def _prose(subject: type) -> str:
    """The docstring of the module that a class is in, as one paragraph."""
    text = " ".join((inspect.getdoc(inspect.getmodule(subject)) or "").split()).replace("``", "`")
    return re.sub(r"IC-PROTOCOL [^;]*; ", "", text)


def _first_sentence(error: type[GatewayError]) -> str:
    paragraph = (inspect.getdoc(error) or "").split("\n\n")[0]
    return " ".join(paragraph.split()).split(". ")[0].rstrip(".").replace("``", "`") + "."


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
