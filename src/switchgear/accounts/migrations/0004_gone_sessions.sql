-- Sessions whose rows were deleted before they had ended, as those of an account that is deleted: their
-- access tokens would live on, for nobody could tell gateways of them.
create table gone (
    id text primary key,
    rotated double precision not null,
    ended double precision not null
);

create index gone_by_ended on gone (ended, id);

-- Whoever deletes an account has another search path than accounts.
create function family_goes() returns trigger language plpgsql set search_path from current as $$
begin
    insert into gone (id, rotated, ended)
        values (old.id, old.rotated, coalesce(old.ended, extract(epoch from clock_timestamp())))
        on conflict (id) do nothing;
    return old;
end
$$;

-- No access token lives for longer than a day, nor is it refused because its session ends in time.
create trigger family_goes before delete on family for each row
    when (old.ends > extract(epoch from now())
        and greatest(old.rotated, old.ended) > extract(epoch from now()) - 90000)
    execute function family_goes();
