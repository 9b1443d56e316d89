-- Begins the next turn of a run whose turn number p_turn has ended. Returns no row when it has not ended, or
-- somebody else was faster. With p_error the new turn has failed before anybody took it up; with p_approval it waits
-- for a person first. It is in nobody's hands: whoever had its last turn, and was not told that it has ended, would go on
-- with it otherwise.
create or replace function runyard.continue_run(
  p_run text, p_turn int, p_prompt text, p_spec json, p_carry json, p_error json, p_plans boolean,
  p_approval_id text, p_approval json, p_types text[], p_data text[]
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = case when p_error is not null then 'failed' when p_approval is not null then 'awaiting_input' else 'pending' end,
      phase = 'queued', turn = x.turn + 1, prompt = p_prompt, spec = p_spec, carry = p_carry, state = '{}',
      begun = false, plans = p_plans, owner = null,
      open_requests = case when p_approval is null then 0 else 1 end,
      result = null, error = p_error, cancel_reason = null, percentage = null, turn_active_ms = x.active_ms,
      finished_at = case when p_error is null then null else now() end,
      last_seq = x.last_seq + cardinality(p_types), updated_at = now()
    where x.id = p_run and x.turn = p_turn and runyard.is_terminal(x.status)
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  if r.status = 'awaiting_input' then
    perform runyard.request_approval(r, p_approval_id, p_approval);
  elsif r.status = 'pending' then
    update runyard.org_slots s set queued = s.queued + 1 where s.org_id = r.org_id;
  end if;
  return next r;
end $f$;
