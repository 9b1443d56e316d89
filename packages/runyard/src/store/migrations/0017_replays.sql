-- A run may be the replay of another one: its agent is answered from that one's recording, which lies on the machine
-- of one runner.

alter table runyard.runs
  -- The run that is replayed, what is compared with it, and what came of that, as json of the store's; null: no replay.
  add column replay json,
  -- The only runner that may take the run up; null: any.
  add column if not exists only_runner text;

-- Claims the oldest queued run that this runner may take up, of an organization that is below its limit, or returns
-- no row. The events by what the claim begins: the run, a later turn of it, or (again) a turn that was begun before.
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
begin
  select s.org_id into o from runyard.org_slots s
    where s.queued > 0 and s.active < s.max_active
      -- One whose queued runs are all for others must not stand in the way of the rest.
      and exists (
        select from runyard.runs y
          where y.org_id = s.org_id and y.status = 'pending' and (y.only_runner is null or y.only_runner = p_runner))
    order by random() limit 1
    for no key update skip locked;
  if not found then return; end if;

  select y.* into q from runyard.runs y
    where y.org_id = o and y.status = 'pending' and (y.only_runner is null or y.only_runner = p_runner)
    order by y.num limit 1 for update skip locked;
  if not found then return; end if;
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
        started_at = coalesce(x.started_at, now()), active_since = clock_timestamp(), updated_at = now()
    where x.id = q.id
    returning x.* into r;
  update runyard.org_slots s set active = s.active + 1, queued = s.queued - 1 where s.org_id = o;
  perform runyard.put_events(r, p_types, p_data);
  return next r;
end $f$;
