"""What a gateway says of a request."""

import msgspec

from switchgear.policy.call import Principal

__all__ = ["Vouched"]


class Vouched(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a gateway vouches for. `exempt`: health, admin or drill traffic that is never shed.

    Keep one per verified token (`Verified.vouched`) and mint from that: how it is written is
    remembered for the very object.
    """

    principal: Principal | None = None
    exempt: bool = False
