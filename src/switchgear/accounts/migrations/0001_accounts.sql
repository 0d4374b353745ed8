create table account (
    id uuid primary key,
    email text not null,
    password_hash text not null,
    scopes text[] not null,
    created_at timestamptz not null default now()
);

-- Compared in lower case: one person, one account.
create unique index account_by_email on account (lower(email));

-- One row per sign-in and all that rotated from it. The tokens themselves are derived, not stored.
create table family (
    id text primary key,
    account_id uuid not null references account (id) on delete cascade,
    generation integer not null,
    rotated double precision not null,
    ends double precision not null,
    graced boolean not null,
    revoked boolean not null
);

create index family_by_account on family (account_id);
create index family_by_end on family (ends);

-- The private halves stay in this schema, which the application's role cannot read.
create table signing_key (
    kid text primary key,
    private_jwk text not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz
);

create table shared_key (
    id text primary key,
    secret bytea not null,
    created_at timestamptz not null default now()
);
