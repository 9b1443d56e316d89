-- A run is a sequence of turns: whoever continues one that has ended begins the next, with a prompt of its own.

alter table runyard.runs
  -- What this turn was asked; null in the first turn, which is about the task.
  add column prompt text,
  -- What this turn goes on from, as json of the runner's (see Carry in run-row.ts); null in the first turn.
  add column carry json,
  -- Active time that the turns before have used: a turn's deadline counts its own.
  add column turn_active_ms bigint not null default 0;

-- Begins the next turn of a run whose turn number p_turn has ended. Returns no row when it has not ended, or
-- somebody else was faster. With p_error the new turn has failed before anybody took it up.
create function runyard.continue_run(
  p_run text, p_turn int, p_prompt text, p_spec json, p_carry json, p_error json, p_types text[], p_data text[]
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = case when p_error is null then 'pending' else 'failed' end,
      phase = 'queued', turn = x.turn + 1, prompt = p_prompt, spec = p_spec, carry = p_carry, state = '{}',
      result = null, error = p_error, cancel_reason = null, percentage = null, turn_active_ms = x.active_ms,
      finished_at = case when p_error is null then null else now() end,
      last_seq = x.last_seq + cardinality(p_types), updated_at = now()
    where x.id = p_run and x.turn = p_turn and runyard.is_terminal(x.status)
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  if p_error is null then
    update runyard.org_slots s set queued = s.queued + 1 where s.org_id = r.org_id;
  end if;
  return next r;
end $f$;

-- The same as before but for the events: who claims does not know yet whether it will be a run's first turn.
drop function runyard.claim_run(text, text, text[], text[]);

-- Claims the oldest queued run of an organization that is below its limit, or returns no row.
-- Two statements on purpose: the run is picked with a snapshot that is younger than the lock on the
-- organization's row (a single statement claims twice). Lock order everywhere: organization, then run.
create function runyard.claim_run(
  p_owner text, p_runner text, p_types text[], p_data text[], p_later_types text[], p_later_data text[]
) returns setof runyard.runs
language plpgsql security definer set search_path = runyard, pg_temp as $f$
declare
  o text;
  r runyard.runs;
begin
  select s.org_id into o from runyard.org_slots s
    where s.queued > 0 and s.active < s.max_active
    order by random() limit 1
    for no key update skip locked;
  if not found then return; end if;

  update runyard.runs x
    set status = 'running', phase = 'preparing', owner = p_owner, runner_id = p_runner, attempt = x.attempt + 1,
        out_cursor = 0, in_size = 0, state = '{}',
        last_seq = x.last_seq + case when x.turn = 1 then cardinality(p_types) else cardinality(p_later_types) end,
        started_at = coalesce(x.started_at, now()), active_since = clock_timestamp(), updated_at = now()
    where x.id = (select y.id from runyard.runs y where y.org_id = o and y.status = 'pending' order by y.num limit 1 for update skip locked)
    returning x.* into r;
  if not found then return; end if;
  update runyard.org_slots s set active = s.active + 1, queued = s.queued - 1 where s.org_id = o;
  if r.turn = 1 then
    perform runyard.put_events(r, p_types, p_data);
  else
    perform runyard.put_events(r, p_later_types, p_later_data);
  end if;
  return next r;
end $f$;

alter function runyard.claim_run owner to runyard_system;
