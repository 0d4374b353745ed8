create table note (
    id text not null,
    at timestamptz not null default now()
);
create index on note (id);
create table seen (
    ordinal bigint generated always as identity,
    id text not null,
    actor text not null,
    number integer not null,
    at timestamptz not null default now()
);
