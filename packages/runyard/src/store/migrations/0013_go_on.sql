-- An attempt that lost only the process that watched its agent is followed by one that goes on where it was.

drop function runyard.next_attempt(text, text, int, text[], text[], json, bigint);

-- Ends an attempt and gives the run the next number, in one commit: its last events, its journals' cursors,
-- what it asked, its lines for the agent, its state, and what it goes on from where it does not begin afresh. The clock of active time stands still until the next
-- attempt begins, p_delay_ms from now. No row: fenced (another owner or attempt, or the turn has ended).
-- The run keeps its place in its organization's limit: it goes on, and a run that waits is soon back.
create function runyard.next_attempt(
  p_run text, p_owner text, p_attempt int, p_types text[], p_data text[], p_state json, p_delay_ms bigint, p_carry json
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  ended runyard.runs;
begin
  update runyard.runs x set
      last_seq = x.last_seq + cardinality(p_types),
      attempt = x.attempt + 1,
      status = 'running', phase = 'preparing', open_requests = 0,
      out_cursor = 0, in_size = 0, state = p_state,
      carry = coalesce(p_carry, x.carry),
      active_ms = runyard.active_ms_until_now(x.active_ms, x.active_since),
      active_since = clock_timestamp() + make_interval(secs => p_delay_ms / 1000.0),
      updated_at = now()
    where x.id = p_run and x.owner = p_owner and x.attempt = p_attempt
      and x.status in ('running', 'awaiting_input')
    returning x.* into r;
  if not found then return; end if;

  -- What is told of an attempt's end belongs to that attempt.
  ended := r;
  ended.attempt := p_attempt;
  perform runyard.put_events(ended, p_types, p_data);
  update runyard.requests q set closed_at = now() where q.run_id = r.id and q.closed_at is null;
  return next r;
end $f$;
