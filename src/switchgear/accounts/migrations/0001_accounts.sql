create table account (
    id uuid primary key,
    -- Compared in lower case: one person, one account.
    email text not null,
    password_hash text not null,
    scopes text[] not null,
    created_at timestamptz not null default now()
);

create unique index account_by_email on account (lower(email));

-- One row per refresh token ever issued; a family is one sign-in and all that rotated from it.
create table refresh_token (
    digest bytea primary key,
    family uuid not null,
    account_id uuid not null references account (id) on delete cascade,
    issued_at timestamptz not null default now(),
    expires_at timestamptz not null,
    used_at timestamptz,
    successor bytea,
    revoked_at timestamptz
);

create index refresh_token_by_family on refresh_token (family);

-- The private halves stay in this schema, which the application's role cannot read.
create table signing_key (
    kid text primary key,
    private_jwk text not null,
    created_at timestamptz not null default now(),
    retired_at timestamptz
);
