-- What ended runs have left on a machine is removed by and by.

-- Those of these runs that have ended, of whatever organization.
create function runyard.ended_runs(p_ids text[]) returns table (id text, org_id text, finished_at timestamptz)
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select r.id, r.org_id, r.finished_at from runyard.runs r
    where r.id = any (p_ids) and runyard.is_terminal(r.status) and r.finished_at is not null
$f$;
alter function runyard.ended_runs owner to runyard_system;
