-- What was guessed wrong lately. The cell is chosen by a keyed hash of the account's name: so there
-- are so many rows at most, whatever is named, and none of them tells who was asked for.
create table guess (
    cell integer primary key,
    failed double precision not null,
    at double precision not null
);

-- Where a session was opened: who comes from there again is no stranger.
alter table family add column network text not null default '';

create index family_by_network on family (account_id, network);
drop index family_by_account;
