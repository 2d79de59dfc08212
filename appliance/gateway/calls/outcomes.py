"""What the failure of a call says about it."""

from appliance.errors import CanisterRefused, CertifiedReject, ClientLeaving, OpeningClaimed, RefusedByPlugin


def never_ran(error: Exception) -> bool:
    """Whether the canister cannot have registered the client of an opening call that failed so.

    An uncertified reject is the word of one endpoint: the call may run all the same. Then a close call too many is
    harmless, and one too few would leave the client registered for good.
    """
    return isinstance(error, CertifiedReject | CanisterRefused | RefusedByPlugin | OpeningClaimed | ClientLeaving)
