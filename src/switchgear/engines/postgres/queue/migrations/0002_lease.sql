-- Names that one holder at a time may hold. A row stays when the name is let go: its fence must
-- never start again.
create table switchgear.lease (
    name text primary key,
    fence bigint not null,
    until timestamptz not null
);
