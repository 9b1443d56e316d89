-- What holds runs in: how well their sandboxes must be isolated, which hosts they may reach, and how much memory their
-- runner has for them.

alter table runyard.organizations
  -- What a sandbox must keep; null: as the server has it.
  add column isolation_floor text check (isolation_floor in ('none', 'sandbox', 'strict')),
  add column egress text[] not null default '{}',
  -- The only hosts that runs may be given; null: any.
  add column egress_allowed text[];
alter table runyard.repositories
  add column egress text[] not null default '{}';

-- What a run was not let to reach is shown with it, and is to be found without reading its log.
create index events_egress_denied on runyard.events (run_id, seq) where type = 'egress.denied';

-- What a run was not let to reach, as it stands in its log. Nothing is taken apart here.
create function runyard.egress_denied(p_run text) returns json
language sql stable set search_path = runyard, pg_temp as $f$
  select json_agg(d.data) from (
    select e.data from runyard.events e where e.run_id = p_run and e.type = 'egress.denied' order by e.seq limit 500) d
$f$;
