-- An organization may cap what it spends in a day (UTC). What a run may take of that is set aside when it is claimed,
-- under the lock on the organization's row, so that any number of claimers together never set aside more than there is.

alter table runyard.organizations
  -- Nano US dollars; null: no cap.
  add column daily_cap_nano bigint check (daily_cap_nano > 0);

-- What the runs of an organization have spent on each day.
create table runyard.spending (
  org_id text not null references runyard.organizations,
  day date not null,
  nano_usd bigint not null,
  primary key (org_id, day)
);
call runyard.protect('runyard.spending');

alter table runyard.runs
  -- What was set aside for the run when it was claimed last, in nano US dollars, and what it had spent before; null:
  -- its organization had no cap.
  add column allowance_nano bigint,
  add column allowance_from_nano bigint;

-- What a run's calls count; its usage is json of ours alone.
create function runyard.spent_nano(p_usage json) returns bigint
language sql immutable as $f$ select coalesce((p_usage ->> 'spentNanoUsd')::bigint, 0) $f$;

create function runyard.today() returns date
language sql stable as $f$ select (clock_timestamp() at time zone 'utc')::date $f$;

-- What a run spends is the day's when it is committed. A trigger, so that it holds for every way to write it.
create function runyard.count_spending() returns trigger
language plpgsql set search_path = runyard, pg_temp as $f$
begin
  insert into runyard.spending as s (org_id, day, nano_usd)
    values (new.org_id, runyard.today(), runyard.spent_nano(new.usage) - runyard.spent_nano(old.usage))
    on conflict (org_id, day) do update set nano_usd = s.nano_usd + excluded.nano_usd;
  return null;
end $f$;
create trigger runs_count_spending after update of usage on runyard.runs
  for each row when (runyard.spent_nano(old.usage) <> runyard.spent_nano(new.usage)) execute function runyard.count_spending();

-- What the runs that somebody has in hand may still take of what was set aside for them.
create function runyard.held_nano(p_org text) returns bigint
language sql stable set search_path = runyard, pg_temp as $f$
  select coalesce(sum(greatest(0, r.allowance_nano - (runyard.spent_nano(r.usage) - r.allowance_from_nano))), 0)::bigint
    from runyard.runs r
    where r.org_id = p_org and r.owner is not null and r.status in ('running', 'awaiting_input') and r.allowance_nano is not null
$f$;

create function runyard.spent_today_nano(p_org text) returns bigint
language sql stable set search_path = runyard, pg_temp as $f$
  select coalesce((select s.nano_usd from runyard.spending s where s.org_id = p_org and s.day = runyard.today()), 0)
$f$;

-- What a run wants to have set aside under a cap: all that its budget has left, at most the cap; null: all that there is.
create function runyard.wanted_nano(p_run runyard.runs, p_cap bigint) returns bigint
language sql stable set search_path = runyard, pg_temp as $f$
  select case when p_run.spec -> 'budget' ->> 'usd' is not null then
    least(p_cap, greatest(1, ceil((p_run.spec -> 'budget' ->> 'usd')::numeric * 1000000000)::bigint - runyard.spent_nano(p_run.usage))) end
$f$;

-- Nobody is paid for the answers of a script or of a recording.
create function runyard.is_free(p_run runyard.runs) returns boolean
language sql immutable as $f$ select p_run.simulated or p_run.replay is not null $f$;

-- Whether a run may be claimed under a cap. One that fits may. So may one for which nothing is left and nobody holds
-- anything that could come back: it ends at once and says so. Everything else waits.
create function runyard.may_begin(p_run runyard.runs, p_cap bigint, p_left bigint, p_held bigint) returns boolean
language sql stable set search_path = runyard, pg_temp as $f$
  select p_cap is null or runyard.is_free(p_run)
    or (p_left > 0 and coalesce(runyard.wanted_nano(p_run, p_cap), 1) <= p_left)
    or (p_left <= 0 and p_held = 0)
$f$;

-- Whether a queued run waits for what its organization may spend, of a row of runs.
create function runyard.waits_for_cap(p_run runyard.runs) returns boolean
language plpgsql stable set search_path = runyard, pg_temp as $f$
declare
  cap bigint;
  held bigint;
begin
  if p_run.status <> 'pending' then return false; end if;
  select o.daily_cap_nano into cap from runyard.organizations o where o.org_id = p_run.org_id;
  if cap is null then return false; end if;
  held := runyard.held_nano(p_run.org_id);
  return not runyard.may_begin(p_run, cap, cap - runyard.spent_today_nano(p_run.org_id) - held, held);
end $f$;

-- Claims the oldest queued run that this runner may take up and that fits under the cap of its organization, of one
-- that is below its limit, or returns no row. The events by what the claim begins: the run, a later turn of it, or
-- (again) a turn that was begun before.
-- Two statements on purpose: the run is picked with a snapshot that is younger than the lock on the
-- organization's row (a single statement claims twice). Lock order everywhere: organization, then run.
create or replace function runyard.claim_run(
  p_owner text, p_runner text, p_types text[], p_data text[], p_later_types text[], p_later_data text[],
  p_again_types text[], p_again_data text[]
) returns setof runyard.runs
language plpgsql security definer set search_path = runyard, pg_temp as $f$
declare
  o text;
  r runyard.runs;
  q runyard.runs;
  tried text[] := '{}';
  cap bigint;
  held bigint;
  left_nano bigint;
begin
  loop
    select s.org_id into o from runyard.org_slots s
      where s.queued > 0 and s.active < s.max_active and s.org_id <> all (tried)
        -- One whose queued runs are all for others must not stand in the way of the rest.
        and exists (
          select from runyard.runs y
            where y.org_id = s.org_id and y.status = 'pending' and (y.only_runner is null or y.only_runner = p_runner))
      order by random() limit 1
      for no key update skip locked;
    if not found then return; end if;

    cap := (select g.daily_cap_nano from runyard.organizations g where g.org_id = o);
    held := case when cap is null then 0 else runyard.held_nano(o) end;
    left_nano := cap - runyard.spent_today_nano(o) - held;
    select y.* into q from runyard.runs y
      where y.org_id = o and y.status = 'pending' and (y.only_runner is null or y.only_runner = p_runner)
        and runyard.may_begin(y, cap, left_nano, held)
      order by y.num limit 1 for update skip locked;
    exit when found;
    -- Nor one whose queued runs all wait for what it may spend.
    tried := tried || o;
  end loop;
  if q.begun then
    p_types := p_again_types;
    p_data := p_again_data;
  elsif q.turn > 1 then
    p_types := p_later_types;
    p_data := p_later_data;
  end if;
  update runyard.runs x
    set status = 'running', phase = 'preparing', owner = p_owner, runner_id = p_runner, attempt = x.attempt + 1,
        begun = true, out_cursor = 0, in_size = 0, state = case when q.begun then q.state else '{}' end, last_seq = x.last_seq + cardinality(p_types),
        allowance_nano = case when cap is null or runyard.is_free(q) then null
                              when left_nano <= 0 then 0
                              else coalesce(runyard.wanted_nano(q, cap), left_nano) end,
        allowance_from_nano = case when cap is null or runyard.is_free(q) then null else runyard.spent_nano(x.usage) end,
        started_at = coalesce(x.started_at, now()), active_since = clock_timestamp(), updated_at = now()
    where x.id = q.id
    returning x.* into r;
  update runyard.org_slots s set active = s.active + 1, queued = s.queued - 1 where s.org_id = o;
  perform runyard.put_events(r, p_types, p_data);
  return next r;
end $f$;
