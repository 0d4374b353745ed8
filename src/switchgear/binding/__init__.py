"""Binding: from a typed function to one call per request, and to its OpenAPI description.

It stands on the second floor and works on plain values: it knows no HTTP server, no broker and
no transaction. Whoever has those registers providers by type and hands in a `Given`.

    plan = bind(create_user, path=(), injectors={Transaction: lambda given: given.tx})
    answer = await plan.call(given)              # or a Fault that lists every wrong field
    body = encoder(plan.result, plan.name)(answer)
"""

from switchgear.binding.decode import body_decoder
from switchgear.binding.email import Email
from switchgear.binding.encode import Encode, encoder
from switchgear.binding.given import (
    BODILESS,
    EVENT,
    HTTP,
    Body,
    Cookie,
    Given,
    Header,
    Offer,
    Parts,
    Provider,
    Query,
)
from switchgear.binding.parameters import ABSENT, Parameter, Place, Unbindable
from switchgear.binding.plan import Plan, bind
from switchgear.binding.schema import Operation, Problem, openapi

__all__ = [
    "ABSENT",
    "BODILESS",
    "EVENT",
    "HTTP",
    "Body",
    "Cookie",
    "Email",
    "Encode",
    "Given",
    "Header",
    "Offer",
    "Operation",
    "Parameter",
    "Parts",
    "Place",
    "Plan",
    "Problem",
    "Provider",
    "Query",
    "Unbindable",
    "bind",
    "body_decoder",
    "encoder",
    "openapi",
]
