-- A run may wait for the checks of the commit that it published. While it does it is 'running', has no owner, and its
-- result lies with the effect that looks at the checks.

alter table runyard.repositories
  -- What holds for the checks of what its runs publish; null: they wait for none.
  add column checks json;

-- Takes a run out of its runner's hands and has the outbox look at its checks. It waits without a place in its
-- organization's limit. No row: fenced, or to be cancelled.
create function runyard.await_checks(
  p_run text, p_owner text, p_attempt int, p_types text[], p_data text[], p_effect text, p_kind text, p_payload json
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      phase = 'verifying', owner = null, last_seq = x.last_seq + cardinality(p_types),
      active_ms = runyard.active_ms_until_now(x.active_ms, x.active_since), active_since = null,
      updated_at = now()
    where x.id = p_run and x.owner = p_owner and x.attempt = p_attempt and x.status = 'running' and x.cancel_reason is null
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  insert into runyard.outbox (id, org_id, kind, key, run_id, attempt, payload)
    values (p_effect, r.org_id, p_kind, r.id || ':' || r.attempt, r.id, r.attempt, p_payload);
  update runyard.org_slots s set active = s.active - 1 where s.org_id = r.org_id;
  return next r;
end $f$;

-- Ends the wait: the run has ended with its result, or (p_status 'pending') queues to go on in the same turn. No row: it
-- does not wait any more.
create function runyard.end_checks(
  p_run text, p_attempt int, p_status text, p_types text[], p_data text[], p_carry json, p_state json, p_result json, p_error json
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  again boolean := p_status = 'pending';
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = p_status, phase = case when again then 'queued' else x.phase end,
      carry = coalesce(p_carry, x.carry), state = coalesce(p_state, x.state),
      result = coalesce(p_result, x.result), error = coalesce(p_error, x.error),
      last_seq = x.last_seq + cardinality(p_types),
      finished_at = case when again then null else now() end,
      updated_at = now()
    where x.id = p_run and x.attempt = p_attempt and x.status = 'running' and x.owner is null
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  if again then
    update runyard.org_slots s set queued = s.queued + 1 where s.org_id = r.org_id;
  end if;
  return next r;
end $f$;
