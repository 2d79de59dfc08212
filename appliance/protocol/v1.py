"""Wire generation v1 (SDK 0.1 and 0.2): the client sends first and names no gateway."""

from typing import ClassVar

from appliance.errors import WrongGeneration
from appliance.ic.principal import Principal
from appliance.protocol.enveloped import Enveloped
from appliance.protocol.session import Generation


class V1(Enveloped):
    """The session of a client of generation v1."""

    name: ClassVar[str] = "v1"
    generation: ClassVar[Generation] = 1
    one_for_each_principal: ClassVar[bool] = True
    opens_with: ClassVar[str] = "opening message of v1 (clients of v2 belong at /v2)"

    __slots__ = ()

    def greeting(self) -> None:
        """None."""

    def check_gateway(self, named: Principal | None) -> None:
        """See Enveloped."""
        if named is not None:
            raise WrongGeneration("v2", self.name)
