-- A runner's write reaches no queued run.
--
-- A run that is continued waits in the queue with the owner, the attempt and the cursors of its last turn until
-- somebody claims it. A write of that turn which comes late (its connection was cut, its process stopped for a
-- while) found everything as it had left it, and wrote into a turn that it knew nothing of; an end of the turn
-- took a place away that nobody held.

-- The one write of a runner: cursors, events, requests, lines for the agent and state, in one commit.
-- No row: fenced (another owner or attempt, a cursor that moved, the turn has ended or nobody has begun it).
-- What is null in the last eight parameters stays as it is. Everything that an agent's text may be part
-- of comes as a json of its own and is never taken apart here: that would choke on \u0000.
create or replace function runyard.commit_step(
  p_run text, p_owner text, p_attempt int,
  p_out_from bigint, p_out_to bigint, p_usage_from bigint, p_usage_to bigint,
  p_types text[], p_data text[],
  p_request_ids text[], p_request_kinds text[], p_request_offsets bigint[], p_requests text[],
  p_lines text[],
  p_status text, p_phase text, p_state json, p_sandbox json, p_result json, p_error json, p_usage json, p_percentage double precision
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  ends boolean := coalesce(runyard.is_terminal(p_status), false);
  asked int := cardinality(p_request_ids);
  line_bytes bigint := (select coalesce(sum(octet_length(l)), 0) from unnest(p_lines) l);
begin
  if ends then
    perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  end if;

  update runyard.runs x set
      last_seq = x.last_seq + cardinality(p_types),
      out_cursor = p_out_to,
      usage_cursor = p_usage_to,
      in_size = x.in_size + line_bytes,
      open_requests = case when ends then 0 else x.open_requests + asked end,
      status = case when p_status is not null then p_status when asked > 0 then 'awaiting_input' else x.status end,
      phase = coalesce(p_phase, x.phase),
      state = coalesce(p_state, x.state),
      sandbox = coalesce(p_sandbox, x.sandbox),
      result = coalesce(p_result, x.result),
      error = coalesce(p_error, x.error),
      usage = coalesce(p_usage, x.usage),
      percentage = coalesce(p_percentage, x.percentage),
      active_ms = case when ends or asked > 0 then runyard.active_ms_until_now(x.active_ms, x.active_since) else x.active_ms end,
      active_since = case when ends or asked > 0 then null else x.active_since end,
      finished_at = case when ends then now() else x.finished_at end,
      updated_at = now()
    where x.id = p_run and x.owner = p_owner and x.attempt = p_attempt
      and x.out_cursor = p_out_from and x.usage_cursor = p_usage_from
      and x.status <> 'pending' and not runyard.is_terminal(x.status)
    returning x.* into r;
  if not found then return; end if;

  perform runyard.put_events(r, p_types, p_data);
  insert into runyard.requests (run_id, id, org_id, attempt, off, kind, request)
    select r.id, i, r.org_id, r.attempt, o, k, q::json
      from unnest(p_request_ids, p_request_kinds, p_request_offsets, p_requests) e(i, k, o, q);
  insert into runyard.inputs (run_id, attempt, off, org_id, line)
    select r.id, r.attempt,
           r.in_size - line_bytes + coalesce(sum(octet_length(l)) over (order by o rows between unbounded preceding and 1 preceding), 0),
           r.org_id, l
      from unnest(p_lines) with ordinality e(l, o);
  if ends then
    update runyard.requests q set closed_at = now() where q.run_id = r.id and q.closed_at is null;
    update runyard.org_slots s set active = s.active - 1 where s.org_id = r.org_id;
  end if;
  return next r;
end $f$;
