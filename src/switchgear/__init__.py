"""Switchgear: backends in which one failure stays one failure.

The names below are imported when they are first used, so that `from switchgear import Fault`
loads neither a network nor a database package. (PEP 562)
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from switchgear.assembly.app import App as App
    from switchgear.binding.email import Email as Email
    from switchgear.consumers.worker import IdempotencyKey as IdempotencyKey
    from switchgear.core.policy import Policy as Policy
    from switchgear.http.message import Request as Request
    from switchgear.http.message import Response as Response
    from switchgear.policy.call import Call as Call
    from switchgear.policy.call import Principal as Principal
    from switchgear.policy.fault import Code as Code
    from switchgear.policy.fault import Effect as Effect
    from switchgear.policy.fault import Fault as Fault
    from switchgear.ports.tables import Transaction as Transaction

# Where each public name lives. A test holds this and the imports above to one another.
_HOMES = {
    "App": "switchgear.assembly.app",
    "Call": "switchgear.policy.call",
    "Code": "switchgear.policy.fault",
    "Effect": "switchgear.policy.fault",
    "Email": "switchgear.binding.email",
    "Fault": "switchgear.policy.fault",
    "IdempotencyKey": "switchgear.consumers.worker",
    "Policy": "switchgear.core.policy",
    "Principal": "switchgear.policy.call",
    "Request": "switchgear.http.message",
    "Response": "switchgear.http.message",
    "Transaction": "switchgear.ports.tables",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'switchgear' has no attribute {name!r}")
    value: object = getattr(import_module(home), name)
    globals()[name] = value  # the next look-up finds it here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
