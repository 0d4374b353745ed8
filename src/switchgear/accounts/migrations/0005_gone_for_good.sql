-- A session that was not refreshed for days may have a WebSocket open all the same: gateways are told
-- of any that goes before its end, but of those that had ended long before.
drop trigger family_goes on family;
create trigger family_goes before delete on family for each row
    when (old.ends > extract(epoch from now())
        and coalesce(old.ended, extract(epoch from now())) > extract(epoch from now()) - 90000)
    execute function family_goes();
