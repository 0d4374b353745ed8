-- When a family was revoked, by whomever: gateways ask for what has ended since they last asked.
alter table family add column ended double precision;

update family set ended = extract(epoch from clock_timestamp()) where revoked;

create function family_ends() returns trigger language plpgsql as $$
begin
    new.ended := extract(epoch from clock_timestamp());
    return new;
end
$$;

create trigger family_ends before update of revoked on family
    for each row when (new.revoked and not old.revoked) execute function family_ends();

create index family_by_ended on family (ended, id) where ended is not null;
