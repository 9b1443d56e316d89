-- What a server needs that ends its runs, and a list of runs that is long.

-- A server that is to end what it has in hand wishes it to be cancelled, whatever organization it is of.
create function runyard.cancel_living_runs(p_runner text, p_reason text) returns setof text
language sql security definer set search_path = runyard, pg_temp as $f$
  update runyard.runs set cancel_reason = p_reason, updated_at = now()
    where runner_id = p_runner and owner is not null and status in ('running', 'awaiting_input') and cancel_reason is null
    returning id
$f$;
alter function runyard.cancel_living_runs owner to runyard_system;

-- The newest runs in a status, also where they are few and old.
create index runs_by_status on runyard.runs (org_id, status, num desc);
