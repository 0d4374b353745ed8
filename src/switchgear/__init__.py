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
    from switchgear.core.ambient import current as current
    from switchgear.core.ambient import deadline as deadline
    from switchgear.core.ambient import remaining as remaining
    from switchgear.core.ambient import within as within
    from switchgear.core.fallback import Stale as Stale
    from switchgear.core.fallback import static as static
    from switchgear.core.observe import AttemptEnded as AttemptEnded
    from switchgear.core.observe import CallEnded as CallEnded
    from switchgear.core.observe import Coalesced as Coalesced
    from switchgear.core.observe import FellBack as FellBack
    from switchgear.core.observe import Hedging as Hedging
    from switchgear.core.observe import Overran as Overran
    from switchgear.core.observe import Refusing as Refusing
    from switchgear.core.observe import Retrying as Retrying
    from switchgear.core.observe import fan_out as fan_out
    from switchgear.core.policy import Policy as Policy
    from switchgear.http.message import Request as Request
    from switchgear.http.message import Response as Response
    from switchgear.policy.adaptive import AdaptiveSettings as AdaptiveSettings
    from switchgear.policy.backoff import BackoffSettings as BackoffSettings
    from switchgear.policy.breaker import BreakerSettings as BreakerSettings
    from switchgear.policy.breaker_settings import State as State
    from switchgear.policy.breaker_settings import Transition as Transition
    from switchgear.policy.bucket import BucketSettings as BucketSettings
    from switchgear.policy.bucket import GcraSettings as GcraSettings
    from switchgear.policy.budget import BudgetSettings as BudgetSettings
    from switchgear.policy.bulkhead import BulkheadSettings as BulkheadSettings
    from switchgear.policy.call import Call as Call
    from switchgear.policy.call import Principal as Principal
    from switchgear.policy.crossing import as_fault as as_fault
    from switchgear.policy.fault import Code as Code
    from switchgear.policy.fault import Effect as Effect
    from switchgear.policy.fault import Fault as Fault
    from switchgear.policy.fault import Refusal as Refusal
    from switchgear.policy.health import Health as Health
    from switchgear.policy.health import Verdict as Verdict
    from switchgear.policy.hedge import HedgeSettings as HedgeSettings
    from switchgear.policy.hurry import HurrySettings as HurrySettings
    from switchgear.policy.lint import Finding as Finding
    from switchgear.policy.status import by_status as by_status
    from switchgear.policy.status import http_status as http_status
    from switchgear.policy.window import WindowSettings as WindowSettings
    from switchgear.ports.tables import Snapshot as Snapshot
    from switchgear.ports.tables import Transaction as Transaction
    from switchgear.telemetry.observers import LogObserver as LogObserver
    from switchgear.telemetry.observers import OpenTelemetryObserver as OpenTelemetryObserver
    from switchgear.telemetry.observers import PrometheusObserver as PrometheusObserver

# Where each public name lives. A test holds this and the imports above to one another.
_HOMES = {
    "AdaptiveSettings": "switchgear.policy.adaptive",
    "App": "switchgear.assembly.app",
    "AttemptEnded": "switchgear.core.observe",
    "BackoffSettings": "switchgear.policy.backoff",
    "BreakerSettings": "switchgear.policy.breaker",
    "BucketSettings": "switchgear.policy.bucket",
    "BudgetSettings": "switchgear.policy.budget",
    "BulkheadSettings": "switchgear.policy.bulkhead",
    "Call": "switchgear.policy.call",
    "CallEnded": "switchgear.core.observe",
    "Coalesced": "switchgear.core.observe",
    "Code": "switchgear.policy.fault",
    "Effect": "switchgear.policy.fault",
    "Email": "switchgear.binding.email",
    "Fault": "switchgear.policy.fault",
    "FellBack": "switchgear.core.observe",
    "Finding": "switchgear.policy.lint",
    "GcraSettings": "switchgear.policy.bucket",
    "Health": "switchgear.policy.health",
    "HedgeSettings": "switchgear.policy.hedge",
    "Hedging": "switchgear.core.observe",
    "HurrySettings": "switchgear.policy.hurry",
    "IdempotencyKey": "switchgear.consumers.worker",
    "LogObserver": "switchgear.telemetry.observers",
    "OpenTelemetryObserver": "switchgear.telemetry.observers",
    "Overran": "switchgear.core.observe",
    "Policy": "switchgear.core.policy",
    "Principal": "switchgear.policy.call",
    "PrometheusObserver": "switchgear.telemetry.observers",
    "Refusal": "switchgear.policy.fault",
    "Refusing": "switchgear.core.observe",
    "Request": "switchgear.http.message",
    "Response": "switchgear.http.message",
    "Retrying": "switchgear.core.observe",
    "Snapshot": "switchgear.ports.tables",
    "Stale": "switchgear.core.fallback",
    "State": "switchgear.policy.breaker_settings",
    "Transaction": "switchgear.ports.tables",
    "Transition": "switchgear.policy.breaker_settings",
    "Verdict": "switchgear.policy.health",
    "WindowSettings": "switchgear.policy.window",
    "as_fault": "switchgear.policy.crossing",
    "by_status": "switchgear.policy.status",
    "current": "switchgear.core.ambient",
    "deadline": "switchgear.core.ambient",
    "fan_out": "switchgear.core.observe",
    "http_status": "switchgear.policy.status",
    "remaining": "switchgear.core.ambient",
    "static": "switchgear.core.fallback",
    "within": "switchgear.core.ambient",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'switchgear' has no attribute {name!r}")
    try:
        value: object = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("switchgear"):
            raise
        needed = f"switchgear.{name} needs {error.name}: pip install 'switchgear[server]'"
        raise ModuleNotFoundError(needed, name=error.name) from error
    globals()[name] = value  # the next look-up finds it here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
