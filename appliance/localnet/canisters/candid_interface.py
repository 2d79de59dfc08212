"""Where the Candid interface of a canister is found.

Tools put it into different places: ``ic-wasm`` and dfx into public metadata, ``moc`` into private metadata,
``export_candid!`` of ic-cdk behind a function of the module, and many projects into a ``.did`` file beside the module.
"""

from typing import NamedTuple

from appliance.localnet.canisters.canister import Actor, Canister

METADATA = "candid:service"


class FoundInterface(NamedTuple):
    """The text of an interface and where it was found; both are empty where there is none."""

    text: str = ""
    source: str = ""


def interface_of(canister: Canister | None, beside: FoundInterface) -> FoundInterface:
    """The interface of a canister: of public metadata, else of private, else of ``get_candid_pointer``, else the
    one ``beside`` the module.
    """
    if canister is None:
        return FoundInterface()
    public = _metadata("public", canister.metadata.get(METADATA))
    if public.text or not isinstance(canister, Actor):
        return public
    private = _metadata("private", canister.private_metadata.get(METADATA))
    if private.text:
        return private
    exported = canister.exported_interface
    return FoundInterface(exported, "get_candid_pointer") if exported else beside


def _metadata(visibility: str, content: bytes | None) -> FoundInterface:
    text = (content or b"").decode(errors="replace")
    return FoundInterface(text, f"{visibility} metadata") if text else FoundInterface()
