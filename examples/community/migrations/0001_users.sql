create table users (
    id uuid primary key,
    email text not null unique,
    name text not null,
    created_at timestamptz not null default now(),
    welcomed_at timestamptz
);

create index users_by_age on users (created_at, id);

-- No unique constraint on purpose: that each user is welcomed once is the platform's promise,
-- and this table is where a broken promise would show.
create table welcome_log (
    entry bigint generated always as identity primary key,
    user_id uuid not null references users (id),
    welcomed_at timestamptz not null default now()
);

create index welcome_log_by_user on welcome_log (user_id);
