-- Runners and their leases: several servers execute the runs of one database, each for the home that it has.
--
-- A runner says again and again that it lives. Nobody compares that with a clock of the database: whoever
-- looks for lost runners sees `beat` stand still, for as long as a lease by a clock of its own.

create table runyard.runners (
  -- The home's name for ever.
  id text primary key,
  -- The process that works for it now.
  owner text not null,
  -- Goes up with every renewal.
  beat bigint not null default 1,
  lease_ms int not null check (lease_ms > 0),
  -- What runs can have there (the engine's): for processes that have no runner of their own.
  offers json not null,
  -- For people.
  seen_at timestamptz not null default now(),
  -- Somebody saw it stand still for a lease; null again with its next renewal.
  lost_at timestamptz
);

-- Runners belong to no organization: they are read and written by the functions below and nobody else.
alter table runyard.runners enable row level security, force row level security;
create policy no_organization on runyard.runners to runyard_app using (false) with check (false);
create policy every_organization on runyard.runners to runyard_system using (true) with check (true);
grant select, insert, update, delete on runyard.runners to runyard_system;

alter table runyard.runs
  -- How many runners were lost with this run in the turn `lost_turn`, and which attempt the last of them had.
  add column losses int not null default 0,
  add column lost_turn int,
  add column lost_attempt int,
  -- What the attempt behind `lost_attempt` begins with, as json of the engine's.
  add column resume json,
  -- How far the gateway's journals of the run have been read, by runner: each home has one of its own.
  add column usage_cursors jsonb not null default '{}';

-- Says that a runner lives; with p_take for a process that has just become its only one. False: another
-- process works for it now.
create function runyard.renew_runner(p_runner text, p_owner text, p_lease_ms int, p_offers json, p_take boolean) returns boolean
language plpgsql security definer set search_path = runyard, pg_temp as $f$
begin
  insert into runyard.runners as n (id, owner, lease_ms, offers) values (p_runner, p_owner, p_lease_ms, p_offers)
    on conflict (id) do update
      set owner = p_owner, beat = n.beat + 1, lease_ms = p_lease_ms, offers = p_offers, seen_at = now(), lost_at = null
      where p_take or n.owner = p_owner;
  return found;
end $f$;

-- A runner that leaves with nothing in hand is not lost.
create function runyard.retire_runner(p_runner text, p_owner text) returns void
language sql security definer set search_path = runyard, pg_temp as $f$
  delete from runyard.runners n where n.id = p_runner and n.owner = p_owner
$f$;

create function runyard.all_runners() returns setof runyard.runners
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select * from runyard.runners n order by n.id
$f$;

-- Notes that a runner is lost, unless it has moved since it was looked at. By the way goes what was lost long ago.
create function runyard.mark_runner_lost(p_runner text, p_owner text, p_beat bigint) returns boolean
language plpgsql security definer set search_path = runyard, pg_temp as $f$
begin
  delete from runyard.runners n
    where n.lost_at < now() - interval '7 days'
      and not exists (select from runyard.runs r where r.runner_id = n.id and r.status in ('running', 'awaiting_input', 'awaiting_plan'));
  update runyard.runners n set lost_at = now()
    where n.id = p_runner and n.owner = p_owner and n.beat = p_beat and n.lost_at is null;
  return found;
end $f$;

-- Runs that lost runners had in hand, of every organization, with their active time up to now.
create function runyard.lost_runs(p_limit int) returns table (run runyard.runs, active_now_ms bigint)
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select r, runyard.active_ms_until_now(r.active_ms, r.active_since)
    from runyard.runners n join runyard.runs r on r.runner_id = n.id
    where n.lost_at is not null and r.owner is not null and r.status in ('running', 'awaiting_input')
    order by r.num limit p_limit
$f$;

-- Ends the attempt that a lost runner had in hand: the run is queued again ('pending', with what its next attempt
-- begins with) or has ended. No row: the runner lives after all, somebody was faster, or a person has cancelled
-- the run meanwhile ('cancelled' is for those that were, and for no others). From here on the lost runner's
-- writes find no owner. Nobody is waited for long: a stopped process may hold the run.
create function runyard.end_lost_attempt(
  p_org text, p_run text, p_runner text, p_owner text, p_attempt int,
  p_status text, p_types text[], p_data text[], p_resume json, p_error json
) returns setof runyard.runs
language plpgsql security definer set search_path = runyard, pg_temp set lock_timeout = '1s' as $f$
declare
  r runyard.runs;
  again boolean := p_status = 'pending';
begin
  perform 1 from runyard.org_slots s where s.org_id = p_org for no key update;
  perform 1 from runyard.runners n where n.id = p_runner and n.lost_at is not null for share;
  if not found then return; end if;
  update runyard.runs x set
      status = p_status, owner = null, open_requests = 0,
      phase = case when again then 'queued' else x.phase end,
      last_seq = x.last_seq + cardinality(p_types),
      losses = case when x.lost_turn = x.turn then x.losses else 0 end + 1,
      lost_turn = x.turn, lost_attempt = x.attempt,
      resume = coalesce(p_resume, x.resume),
      state = case when again then '{}' else x.state end,
      error = coalesce(p_error, x.error),
      active_ms = runyard.active_ms_until_now(x.active_ms, x.active_since), active_since = null,
      finished_at = case when again then null else now() end,
      updated_at = now()
    where x.id = p_run and x.org_id = p_org and x.runner_id = p_runner and x.owner = p_owner and x.attempt = p_attempt
      and x.status in ('running', 'awaiting_input')
      and (x.cancel_reason is not null) = (p_status = 'cancelled')
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  update runyard.requests q set closed_at = now() where q.run_id = r.id and q.closed_at is null;
  update runyard.org_slots s set active = s.active - 1, queued = s.queued + case when again then 1 else 0 end
    where s.org_id = r.org_id;
  return next r;
end $f$;

alter function runyard.renew_runner owner to runyard_system;
alter function runyard.retire_runner owner to runyard_system;
alter function runyard.all_runners owner to runyard_system;
alter function runyard.mark_runner_lost owner to runyard_system;
alter function runyard.lost_runs owner to runyard_system;
alter function runyard.end_lost_attempt owner to runyard_system;

-- The gateway's journal of a run lies in its runner's home: whoever takes the run up elsewhere reads another one,
-- and whoever has it again goes on where it was. A trigger, so that it holds for every way to a runner.
create function runyard.change_journal() returns trigger
language plpgsql set search_path = runyard, pg_temp as $f$
begin
  new.usage_cursors := old.usage_cursors || jsonb_build_object(old.runner_id, old.usage_cursor);
  new.usage_cursor := coalesce((new.usage_cursors ->> new.runner_id)::bigint, 0);
  return new;
end $f$;
create trigger runs_change_journal before update of runner_id on runyard.runs
  for each row when (old.runner_id <> new.runner_id) execute function runyard.change_journal();
