-- An agent that waits too long for people is let go. The run keeps its open requests and goes on with the answers,
-- as another attempt of the same turn, once the last of them has come.

-- Takes a run out of its runner's hands. It waits without an owner and without a place in its organization's
-- limit; with nothing open any more (the answers came in this very moment) it queues. No row: fenced, or to be cancelled.
create function runyard.release_run(
  p_run text, p_owner text, p_attempt int, p_types text[], p_data text[], p_carry json, p_state json
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = case when x.open_requests > 0 then 'awaiting_input' else 'pending' end,
      phase = case when x.open_requests > 0 then x.phase else 'queued' end,
      owner = null, carry = p_carry, state = p_state,
      last_seq = x.last_seq + cardinality(p_types),
      active_ms = runyard.active_ms_until_now(x.active_ms, x.active_since), active_since = null,
      updated_at = now()
    where x.id = p_run and x.owner = p_owner and x.attempt = p_attempt and x.status in ('running', 'awaiting_input')
      and x.cancel_reason is null
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  update runyard.org_slots s
    set active = s.active - 1, queued = s.queued + case when r.status = 'pending' then 1 else 0 end
    where s.org_id = r.org_id;
  return next r;
end $f$;

-- A person's answer, on any node: the first one wins. The answer, its event and its byte range in `in`
-- are one commit. Of a run whose agent was let go there is nobody to write to: its last answer queues it.
-- Returns no row when the request is not open any more.
create or replace function runyard.answer_request(
  p_run text, p_request text, p_answer text, p_by text, p_line text, p_type text, p_data text
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  held boolean;
begin
  -- The organization, the run, then the request: the order of everybody else.
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  select x.owner is not null into held from runyard.runs x where x.id = p_run for no key update;
  update runyard.requests q set answer = p_answer, answered_by = p_by, closed_at = now()
    from runyard.runs x
    where q.run_id = p_run and q.id = p_request and q.closed_at is null
      and x.id = q.run_id and x.attempt = q.attempt and not runyard.is_terminal(x.status);
  if not found then return; end if;
  update runyard.runs x set
      last_seq = x.last_seq + 1,
      in_size = x.in_size + case when held then octet_length(p_line) else 0 end,
      open_requests = x.open_requests - 1,
      status = case when x.open_requests > 1 or x.status <> 'awaiting_input' then x.status when held then 'running' else 'pending' end,
      phase = case when x.open_requests = 1 and not held then 'queued' else x.phase end,
      active_since = case when x.open_requests = 1 and held then clock_timestamp() else x.active_since end,
      updated_at = now()
    where x.id = p_run
    returning x.* into r;
  perform runyard.put_events(r, array[p_type], array[p_data]);
  if held then
    insert into runyard.inputs (run_id, attempt, off, org_id, line)
      values (r.id, r.attempt, r.in_size - octet_length(p_line), r.org_id, p_line);
  elsif r.status = 'pending' then
    update runyard.org_slots s set queued = s.queued + 1 where s.org_id = r.org_id;
  end if;
  return next r;
end $f$;
