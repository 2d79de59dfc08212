"""The route of a client's calls, against real servers on loopback: one endpoint for all, and word of every trouble."""

import pytest
from aiohttp import web

from appliance.errors import CallExpired, GatewayError
from appliance.ic.api import PROBE_AGAIN_NS
from appliance.ic.route import Route
from tests.ic.conftest import AgentFor
from tests.ic.scripted_ic import STRANGER, Answer, ScriptedIc, TestTime, accepted, cbor, http, rejected, replied, status
from tests.ic.test_agent import ALL_CALLS, a_clients_call


def busy(_: object) -> web.Response:
    return cbor({"status": "non_replicated_rejection", "reject_code": 2, "reject_message": "busy"})


class Troubles(list):
    """How often a route was told of trouble."""

    def route(self, url: str | None = None) -> Route:
        return Route(lambda: self.append(None), url)


@pytest.fixture
def troubles() -> Troubles:
    return Troubles()


async def test_acceptance_is_known_from_version_2_and_the_outcome_from_the_best(
    ic: ScriptedIc, agent_for: AgentFor, troubles: Troubles
) -> None:
    ic.serves |= ALL_CALLS
    ic.script(accepted, replied(b"Ok"))
    agent, call, route = agent_for(ic.url), a_clients_call(), troubles.route()
    assert await agent.accept(call, route)
    assert await agent.submit(call, route=route) == b"Ok"
    assert ic.asked == ["v2/call", "v4/call"]
    assert set(ic.bodies) == {call.body}
    assert route.url == ic.url
    assert not troubles


async def test_an_endpoint_without_version_2_is_asked_for_it_once_in_a_while(
    ic: ScriptedIc, agent_for: AgentFor, time: TestTime, troubles: Troubles
) -> None:
    agent, call = agent_for(ic.url), a_clients_call()
    time.now_ns -= PROBE_AGAIN_NS
    for _ in range(3):
        assert not await agent.accept(call, troubles.route())
    assert ic.asked == ["v2/call"]
    time.now_ns += PROBE_AGAIN_NS
    ic.serves |= ALL_CALLS
    ic.script(accepted)
    assert await agent.accept(call, troubles.route())
    assert not troubles


@pytest.mark.parametrize("answer", [http(503), http(400), http(429), http(500, "oops")])
async def test_acceptance_that_fails_is_trouble_and_no_verdict(
    ic: ScriptedIc, agent_for: AgentFor, troubles: Troubles, answer: Answer
) -> None:
    ic.serves |= ALL_CALLS
    ic.script(answer)
    assert not await agent_for(ic.url).accept(a_clients_call(), troubles.route())
    assert troubles


async def test_calls_stay_with_the_endpoint_of_their_route(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, troubles: Troubles
) -> None:
    other_ic.script(replied(b"Ok"))
    agent = agent_for(ic.url, other_ic.url)
    for _ in range(3):
        assert await agent.submit(a_clients_call(), route=troubles.route(other_ic.url)) == b"Ok"
    assert not ic.asked
    assert not troubles


async def test_another_endpoint_than_that_of_the_route_is_trouble(
    ic: ScriptedIc, other_ic: ScriptedIc, agent_for: AgentFor, troubles: Troubles
) -> None:
    ic.script(replied(b"Ok"))
    route = troubles.route("http://127.0.0.1:1")
    assert await agent_for(ic.url, other_ic.url).submit(a_clients_call(), route=route) == b"Ok"
    assert troubles


@pytest.mark.parametrize(
    "answers",
    [
        [http(503), replied(b"Ok")],
        [status(b"replied", key=STRANGER, reply=b"No"), replied(b"Ok")],
        [busy, replied(b"Ok")],
        [lambda _: cbor("garbage"), replied(b"Ok")],
    ],
)
async def test_whatever_makes_a_call_wait_is_trouble(
    ic: ScriptedIc, agent_for: AgentFor, troubles: Troubles, answers: list[Answer]
) -> None:
    ic.script(*answers)
    assert await agent_for(ic.url).submit(a_clients_call(), route=troubles.route()) == b"Ok"
    assert troubles


async def test_a_certified_rejection_and_a_slow_outcome_are_no_trouble(
    ic: ScriptedIc, agent_for: AgentFor, troubles: Troubles
) -> None:
    ic.script(status(b"processing"), rejected(5, "trapped"))
    with pytest.raises(GatewayError, match="trapped"):
        await agent_for(ic.url).submit(a_clients_call(), route=troubles.route())
    assert not troubles


async def test_an_endpoint_that_says_accepted_where_it_should_wait_is_trouble(
    ic: ScriptedIc, agent_for: AgentFor, troubles: Troubles
) -> None:
    ic.script(accepted, rejected(5, "trapped"))
    with pytest.raises(GatewayError, match="trapped"):
        await agent_for(ic.url).submit(a_clients_call(), route=troubles.route())
    assert troubles


async def test_a_network_that_is_gone_is_trouble(ic: ScriptedIc, agent_for: AgentFor, troubles: Troubles) -> None:
    agent = agent_for("http://127.0.0.1:1")
    assert not await agent.accept(a_clients_call(), troubles.route())
    assert troubles
    with pytest.raises(CallExpired):
        await agent.submit(a_clients_call(), route=troubles.route())
