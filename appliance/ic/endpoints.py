"""Which endpoint of the IC to ask: their addresses and their health. Nothing here waits or connects."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from appliance.errors import IcUnreachable, Malformed

FIRST_REST_NS = 10**9
LONGEST_REST_NS = 60 * 10**9
LONGEST_RETRY_AFTER_S = 60.0  # an endpoint cannot switch itself off for longer, whatever it says
LONGEST_PAUSE_S = 5.0  # nor for longer than this where no other endpoint is healthy

MAINNET_DOMAINS = ("icp-api.io", "icp0.io", "ic0.app")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def normalise_url(url: str) -> str:
    """The one spelling of an endpoint's address: lower case, no default port, no slash at the end.

    Raises Malformed for what is no http or https address, and for one with credentials, query or fragment.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError as error:
        raise Malformed("URL", f"{url!r}: {error}") from None
    if parts.scheme not in _DEFAULT_PORTS or not host:
        raise Malformed("URL", f"{url!r} should look like https://icp-api.io or http://127.0.0.1:4943")
    if parts.username is not None or parts.query or parts.fragment:
        raise Malformed("URL", f"{parts.scheme}://{host}: credentials, query and fragment have no place here")
    host = f"[{host}]" if ":" in host else host
    port_text = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{port_text}{parts.path.rstrip('/')}"


def is_mainnet(url: str) -> bool:
    """Whether an address belongs to the IC's mainnet, whose root key is known. Raises Malformed."""
    host = urlsplit(normalise_url(url)).hostname or ""
    return any(host == domain or host.endswith(f".{domain}") for domain in MAINNET_DOMAINS)


class Endpoint:
    """One address and what is known of its health. Times are of a monotonic clock, in ns."""

    def __init__(self, url: str) -> None:
        self.url = normalise_url(url)
        self.failures = 0
        self.last_problem: str | None = None
        self.closed_until_ns = 0
        """Until when it has asked to be left alone."""
        self._rests_until_ns = 0
        self._closed_since_ns = 0

    def rests_for_s(self, now_ns: int) -> float:
        """How long others are asked first yet, because it failed lately."""
        return max(0, self._rests_until_ns - now_ns) / 1e9

    def closed_for_s(self, now_ns: int, *, longest_s: float = LONGEST_RETRY_AFTER_S) -> float:
        """How long it has asked to be left alone yet (``Retry-After``), of ``longest_s`` at most."""
        until_ns = min(self.closed_until_ns, self._closed_since_ns + int(longest_s * 1e9))
        return max(0, until_ns - now_ns) / 1e9

    def succeeded(self) -> None:
        """It answered as it should."""
        self.failures = 0
        self._rests_until_ns = 0

    def failed(self, problem: str, now_ns: int, retry_after_s: float | None = None) -> None:
        """It did not answer, or not as it should. It rests, each time in a row twice as long.

        Requests that were under way together and fail together count as one failure.
        """
        self.last_problem = problem
        if retry_after_s:
            self.leave_alone(retry_after_s, now_ns)
        if not self.rests_for_s(now_ns):
            self._rests_until_ns = now_ns + min(FIRST_REST_NS << min(self.failures, 10), LONGEST_REST_NS)
            self.failures += 1

    def leave_alone(self, seconds: float, now_ns: int) -> None:
        """It asked not to be asked for so long."""
        wait_ns = int(min(seconds, LONGEST_RETRY_AFTER_S) * 1e9)
        self.closed_until_ns = max(self.closed_until_ns, now_ns + wait_ns)
        self._closed_since_ns = now_ns

    def __repr__(self) -> str:
        return f"Endpoint({self.url})"


class Endpoints:
    """The endpoints of one network, in the order of preference."""

    def __init__(self, urls: Iterable[str], known: Iterable[Endpoint] = ()) -> None:
        """Those that are ``known`` keep their health. Raises Malformed for an address that is none, ValueError for no
        address at all.
        """
        here = {endpoint.url: endpoint for endpoint in known}
        normal = dict.fromkeys(normalise_url(url) for url in urls)
        self.all = [here.get(url) or Endpoint(url) for url in normal]
        if not self.all:
            raise ValueError("at least one endpoint is needed")

    def order(self, now_ns: int, *, after: str | None = None) -> list[Endpoint]:
        """Whom to ask, one after the other until one answers: the healthy ones as configured, or the one whose rest
        ends first where all rest. With ``after`` they begin behind the endpoint of that address: it is the last.

        Raises IcUnreachable where all have asked to be left alone.
        """
        for each in self.all:
            if each.failures or each.closed_until_ns > now_ns:
                break
        else:
            # Nothing was wrong lately with any, as almost always.
            return list(self.all) if after is None or len(self.all) == 1 else self._rotated(after)
        open_ones = self._open(now_ns, after)
        if not open_ones:
            nearest = min(self.all, key=lambda endpoint: endpoint.closed_for_s(now_ns))
            raise IcUnreachable(nearest.url, "it asked to be left alone", self.pause_s(now_ns))
        open_ones.sort(key=lambda endpoint: endpoint.rests_for_s(now_ns))
        return [endpoint for endpoint in open_ones if not endpoint.rests_for_s(now_ns)] or open_ones[:1]

    def resting(self, now_ns: int) -> list[Endpoint]:
        """Those that rest, and have not asked to be left alone."""
        return [endpoint for endpoint in self._open(now_ns) if endpoint.rests_for_s(now_ns)]

    def pause_s(self, now_ns: int) -> float:
        """How long none may be asked, because all have asked to be left alone."""
        if self._open(now_ns):
            return 0.0
        return min(endpoint.closed_for_s(now_ns, longest_s=LONGEST_PAUSE_S) for endpoint in self.all)

    def _open(self, now_ns: int, after: str | None = None) -> list[Endpoint]:
        # A dead endpoint is no other: if only such ones are left, one with a long ``Retry-After`` must be asked again.
        has_healthy = any(not each.closed_for_s(now_ns) and not each.rests_for_s(now_ns) for each in self.all)
        longest_s = LONGEST_RETRY_AFTER_S if has_healthy else LONGEST_PAUSE_S
        return [each for each in self._rotated(after) if not each.closed_for_s(now_ns, longest_s=longest_s)]

    def _rotated(self, after: str | None) -> list[Endpoint]:
        if after is None:
            return list(self.all)
        first = next((place for place, endpoint in enumerate(self.all, 1) if endpoint.url == after), 0)
        return self.all[first:] + self.all[:first]
