"""Observers: the events of policies as log lines, Prometheus metrics and OpenTelemetry signals.

::

    from switchgear.telemetry.observers import LogObserver, PrometheusObserver

    observe = fan_out(LogObserver(), PrometheusObserver())
    mail = Policy("mail", observe=observe)          # one of each for all policies of a process

Each is a function of one event, and passes over the kinds that it does not know. Importing them
loads neither prometheus_client nor OpenTelemetry: making one does, and says what to install.
"""

from switchgear.telemetry.observers.logs import LogObserver
from switchgear.telemetry.observers.opentelemetry import OpenTelemetryObserver
from switchgear.telemetry.observers.prometheus import PrometheusObserver

__all__ = ["LogObserver", "OpenTelemetryObserver", "PrometheusObserver"]
