-- An agent may end its turn with questions: its run waits for the answers without an agent from then on.

drop function runyard.release_run(text, text, int, text[], text[], json, json);

-- Takes a run out of its runner's hands, with what its agent has left to be answered. It waits without an owner and
-- without a place in its organization's limit; with nothing open (the answers came in this very moment) it queues.
-- No row: fenced, or to be cancelled.
create function runyard.release_run(
  p_run text, p_owner text, p_attempt int, p_types text[], p_data text[],
  p_request_ids text[], p_request_kinds text[], p_request_offsets bigint[], p_requests text[],
  p_carry json, p_state json
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  asked int := cardinality(p_request_ids);
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      open_requests = x.open_requests + asked,
      status = case when x.open_requests + asked > 0 then 'awaiting_input' else 'pending' end,
      phase = case when x.open_requests + asked > 0 then x.phase else 'queued' end,
      owner = null, carry = p_carry, state = p_state,
      last_seq = x.last_seq + cardinality(p_types),
      active_ms = runyard.active_ms_until_now(x.active_ms, x.active_since), active_since = null,
      updated_at = now()
    where x.id = p_run and x.owner = p_owner and x.attempt = p_attempt and x.status in ('running', 'awaiting_input')
      and x.cancel_reason is null
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  insert into runyard.requests (run_id, id, org_id, attempt, off, kind, request)
    select r.id, i, r.org_id, r.attempt, o, k, q::json
      from unnest(p_request_ids, p_request_kinds, p_request_offsets, p_requests) e(i, k, o, q);
  update runyard.org_slots s
    set active = s.active - 1, queued = s.queued + case when r.status = 'pending' then 1 else 0 end
    where s.org_id = r.org_id;
  return next r;
end $f$;
