"""Wire generation v2 (SDK 0.3 to 0.5): the gateway greets, and the client opens for this gateway."""

from typing import ClassVar

from appliance.crypto import encode_cbor
from appliance.errors import WrongGateway, WrongGeneration
from appliance.ic.principal import Principal
from appliance.protocol.enveloped import Enveloped
from appliance.protocol.session import Generation


class V2(Enveloped):
    """The session of a client of generation v2."""

    name: ClassVar[str] = "v2"
    generation: ClassVar[Generation] = 2
    opens_with: ClassVar[str] = "opening message of the client"

    __slots__ = ()

    def greeting(self) -> bytes:
        """The gateway's principal."""
        return encode_cbor({"gateway_principal": self.context.gateway})

    def check_gateway(self, named: Principal | None) -> None:
        """See Enveloped."""
        if named is None:
            raise WrongGeneration("v1", self.name)
        if named != self.context.gateway:
            raise WrongGateway(str(named), str(self.context.gateway))
