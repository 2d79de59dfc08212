"""What Redis answers, and the keys that it is asked for."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import RedisError

from appliance.cluster.engine import NodeInfo
from appliance.errors import EngineAway
from appliance.gateway.nodes import Place


@contextmanager
def answers() -> Iterator[None]:
    """Raises EngineAway for whatever goes wrong with a command."""
    try:
        yield
    except MasterNotFoundError as error:
        what, _, clients = str(error).partition(" : ")  # which are named with their whole configuration
        causes = sorted({each[:80] for each in re.findall(r"> - (.+?)(?=, <|$)", clients)})
        why = f"Sentinels were asked in vain ({', '.join(causes)})" if causes else "no Sentinel knows it, or it is down"
        raise EngineAway(f"{what}, the name at the end of cluster.url: {why}") from None
    except (RedisError, OSError, TimeoutError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise EngineAway(str(error) or type(error).__name__) from error


def info_of(text: bytes) -> NodeInfo:
    """What a node says of itself. Raises ValueError. A later release may say more, and an earlier one less: what that
    does not say has its default. Records stay for an hour, also of a process that an update has replaced.
    """
    said = json.loads(text)
    if not isinstance(said, dict):
        raise ValueError(f"a node says of itself {said!r:.40}")
    values = {each.name: said.get(each.name, each.default) for each in fields(NodeInfo)}
    for each in fields(NodeInfo):
        if type(values[each.name]) is not each.type:
            raise ValueError(f"a node says of itself that {each.name} is {values[each.name]!r:.40}")
    return NodeInfo(**values)


def word(answer: object, *known: str) -> str:
    """An answer that is one of these words. Raises EngineAway for another."""
    word = answer.decode("ascii", "replace") if isinstance(answer, bytes) else str(answer)
    if word not in known:
        raise EngineAway(f"its answer is {word:.20}")
    return word


def joined(*parts: bytes) -> bytes:
    """Parts behind each other, each with its length: no other parts give the same."""
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def place_key(prefix: str, place: Place) -> bytes:
    """The key of a place."""
    return b"%splace:%s" % (prefix.encode(), joined(place.canister_id, place.group))
