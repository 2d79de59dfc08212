"""Laws of every class of the tree, and the sentences that are put together from parts."""

import dataclasses
import inspect
from string import Formatter

import pytest

from appliance import errors
from appliance.client import errors as client_errors
from appliance.errors import GatewayError, error_classes

MOST_BYTES = 123
"""Of a close reason (RFC 6455 section 5.5: 125 bytes of a control frame, of which the code has two)."""
PRINCIPAL = "rrkah-fqaaa-aaaaa-aaaaq-cai"

EVERY = sorted(
    error_classes()
    | {
        each
        for each in vars(client_errors).values()
        if isinstance(each, type) and issubclass(each, client_errors.ClientError)
    },
    key=lambda each: each.__name__,
)
every = pytest.mark.parametrize("kind", EVERY)


def test_every_class_of_the_package_is_in_the_tree_and_exported() -> None:
    exported = {each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, GatewayError)}
    assert exported == error_classes()
    assert client_errors.ClientError not in error_classes()


@every
def test_a_sentence_names_facts_only(kind: type[GatewayError]) -> None:
    facts = {field.name for field in dataclasses.fields(kind)} if kind is not GatewayError else set()
    shown = {name for _, name, _, _ in Formatter().parse(kind.sentence) if name is not None}
    properties = {name for name, value in inspect.getmembers(kind) if isinstance(value, property)}
    seconds = {f"{name.removesuffix('_ns')}_s" for name in facts if name.endswith("_ns")}
    assert shown <= facts | properties | seconds


@every
def test_a_class_has_a_label_a_code_and_a_docstring_of_its_own(kind: type[GatewayError]) -> None:
    assert kind.reason.replace("_", "").isalpha()
    assert kind.close_code in {1003, 1009, 1011, 1012, 1013} or 4000 <= kind.close_code <= 4999
    assert (kind.__doc__ or "").split("(")[0] != kind.__name__  # which a dataclass has by itself


def test_subclasses_take_what_they_do_not_replace() -> None:
    class Parent(GatewayError, close_code=4444, reason="parent"):
        age_ns: int
        sentence = "{age_s:.1f} s old"

    class Child(Parent, reason="child"):
        pass

    assert (Child.close_code, Child.reason, str(Child(1_500_000_000))) == (4444, "child", "1.5 s old")
    assert (Parent.reason, GatewayError.reason) == ("parent", "internal")


def test_errors_are_compared_by_identity_and_braces_in_facts_stay() -> None:
    error = errors.Malformed("{tree}", "{0}")
    assert str(error) == "malformed {tree}: {0}"
    assert error != errors.Malformed("{tree}", "{0}")
    assert error in {error}


SENTENCES = [
    (
        errors.CertificateStale(600 * 10**9, 300 * 10**9),
        "certificate is 600 s old, the limit is 300 s; is the clock right?",
    ),
    (errors.EnvelopeExpired(10**9, 6 * 10**9), "the envelope expired 5 s ago; is the client's clock right?"),
    (
        errors.EnvelopeTooFarAhead(400 * 10**9, 0, 360 * 10**9),
        "the envelope expires in 400 s, the limit is 360 s; is the client's clock right?",
    ),
    (errors.CertifiedReject(4, "no"), "rejected (4): no"),
    (errors.CertifiedReject(4, "no", "IC0406"), "rejected (4, IC0406): no"),
    (errors.UncertifiedReject(4, "no", "IC0406"), "rejected (4, IC0406), uncertified: no"),
    (
        errors.WrongGeneration("v1 or v2", "v0"),
        "this address serves clients of v0; connect to /v1 or /v2 for v1 or v2",
    ),
    (errors.WrongGeneration("v2", "v1", "abc"), "canister abc serves clients of v1, this one speaks v2"),
    (errors.OutOfOrder(4, 5), "expected sequence number 4, got 5"),
    (
        errors.UntimelyMessage(0, 400 * 10**9, 300 * 10**9),
        "the message was signed 400 s ago, the limit is 300 s; is the client's clock right?",
    ),
    (
        errors.UntimelyMessage(400 * 10**9, 0, 300 * 10**9),
        "the message was signed 400 s ahead of this clock, the limit is 300 s; is the client's clock right?",
    ),
    (errors.ReplayedEnvelope("0123456789abcdef0123"), "the message 0123456789abcdef… was used before"),
    (errors.OrderLost("no"), "the IC changed the order of messages, open a new connection: no"),
    (
        errors.RateLimited("messages", "5/s", 20, 1_200_100),
        "rate limit exceeded: messages 5/s, burst 20; retry in 0.002 s",
    ),
    (errors.PostponedByPlugin("p", "full", 2.5), "full; retry in 2.5 s"),
    (errors.GatewayStopping(), "the gateway restarts, open a new connection"),
    (errors.GatewayStopping(1.5), "the gateway restarts, open a new connection in 1.5 s"),
    (
        errors.ConfigError([errors.ConfigProblem("a:1:1", "k", "x"), errors.ConfigProblem("a", "", "y")]),
        "a:1:1: k: x\na: y",
    ),
]


@pytest.mark.parametrize(("error", "sentence"), SENTENCES)
def test_the_sentence_holds_the_facts(error: GatewayError, sentence: str) -> None:
    assert str(error) == sentence


@pytest.mark.parametrize(
    "error",
    [
        errors.SlowClient(10**8, 10**8),
        errors.OrderLost("Expected incoming sequence number 12 but got 13"),
        errors.RateLimited("connections", "100000/h", 10**6, 10**15),
        errors.CanisterForgot(PRINCIPAL),
        errors.CanisterFull(PRINCIPAL, 10**6),
        errors.CanisterPaused(PRINCIPAL),
        errors.CanisterRemoved(PRINCIPAL),
        errors.CanisterUnlisted(PRINCIPAL),
        errors.GatewayStopping(10**6),
        errors.PluginUnavailable("p"),
        errors.WrongCanister(PRINCIPAL, PRINCIPAL),
        errors.WrongGeneration("v1 or v2", "v0"),
        errors.WrongGeneration("v1 or v2", "v0", PRINCIPAL),
        errors.OutOfOrder(2**64, 2**64),
        errors.UntimelyMessage(2**62, 0, 10**15),
    ],
)
def test_a_close_reason_is_whole(error: GatewayError) -> None:
    assert len(str(error).encode()) <= MOST_BYTES
