-- The queue. A message is a row of exactly one of three tables: ready, delayed, dead.

create schema if not exists switchgear;

-- Who takes messages: a row per open source. It renews `until`; when it does not, whoever notices
-- first writes `dead_at` and makes its messages ready again.
create table switchgear.holder (
    id bigint generated always as identity primary key,
    name text not null,
    until timestamptz not null,
    dead_at timestamptz
);

-- `holder` is the lease and the fence: null when free, and a settlement counts only from the
-- holder that the row still names. `deaths` counts processes that died holding it.
create table switchgear.ready (
    id bigint generated always as identity primary key,
    message uuid not null,
    topic text not null,
    key text not null default '',
    body bytea not null,
    headers text not null default '{}',
    published_at timestamptz not null default now(),
    expires_at timestamptz,
    attempts integer not null default 0,
    deaths integer not null default 0,
    trail text[] not null default '{}',
    holder bigint
) with (
    -- Every row is written, leased and removed within moments: clean often, and leave room for the
    -- leased version beside the free one.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.2
);

-- A message that was held by a process that died is suspect: it is taken alone.
create index ready_free on switchgear.ready (topic, id) where holder is null and deaths = 0;
create index ready_suspect on switchgear.ready (topic, id) where holder is null and deaths > 0;
create index ready_held on switchgear.ready (holder) where holder is not null;

create table switchgear.delayed (
    id bigint generated always as identity primary key,
    due_at timestamptz not null,
    message uuid not null,
    topic text not null,
    key text not null,
    body bytea not null,
    headers text not null,
    published_at timestamptz not null,
    expires_at timestamptz,
    attempts integer not null,
    deaths integer not null,
    trail text[] not null
);

create index delayed_due on switchgear.delayed (due_at);

create table switchgear.dead (
    entry bigint generated always as identity primary key,
    died_at timestamptz not null default now(),
    outcome text not null check (outcome in ('dead', 'expired')),
    cause text not null,
    consumer text not null,
    message uuid not null,
    topic text not null,
    key text not null,
    body bytea not null,
    headers text not null,
    published_at timestamptz not null,
    expires_at timestamptz,
    attempts integer not null,
    deaths integer not null,
    trail text[] not null
);

create index dead_by_topic on switchgear.dead (topic, entry);

-- Which effects are committed: written in the effect's own transaction.
create table switchgear.inbox (
    consumer text not null,
    message uuid not null,
    done_at timestamptz not null default now(),
    primary key (consumer, message)
);

create index inbox_by_age on switchgear.inbox (done_at);
