-- What came of requests that bore an idempotency key: written in their effect's own transaction.
-- `scope` is a digest of the principal, the route and the key; `body` is null where it was too
-- large to be kept.
create table switchgear.idempotency (
    scope bytea primary key,
    fingerprint bytea not null,
    status smallint not null,
    headers text not null,
    body bytea,
    kept_at timestamptz not null default now()
);

create index idempotency_by_age on switchgear.idempotency (kept_at);
