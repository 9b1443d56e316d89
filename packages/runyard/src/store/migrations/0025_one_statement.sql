-- A runner's write is one statement: the organization is set inside, for as long as the function runs, where it was a
-- statement of its own between a begin and a commit. And it gives back what the write may have changed, or somebody
-- else meanwhile, instead of the whole run.

drop function runyard.commit_step(
  text, text, int, bigint, bigint, bigint, bigint, text[], text[], text[], text[], bigint[], text[], text[],
  text, text, json, json, json, json, json, double precision);

-- The one write of a runner: cursors, events, requests, lines for the agent and state, in one commit.
-- No row: fenced (another owner or attempt, a cursor that moved, the turn has ended or nobody has begun it; or a run
-- of another organization). What is null of status, phase and all to percentage stays as it is. Everything that an
-- agent's text may be part of comes as a json of its own and is never taken apart here: that would choke on \u0000.
create function runyard.commit_step(
  p_run text, p_owner text, p_attempt int,
  p_out_from bigint, p_out_to bigint, p_usage_from bigint, p_usage_to bigint,
  p_types text[], p_data text[],
  p_request_ids text[], p_request_kinds text[], p_request_offsets bigint[], p_requests text[],
  p_lines text[],
  p_status text, p_phase text, p_state json, p_sandbox json, p_result json, p_error json, p_usage json, p_percentage double precision,
  p_org text
) returns table (
  status text, phase text, spec json, cancel_reason text, open_requests int, last_seq int, out_cursor bigint, usage_cursor bigint,
  in_size bigint, percentage double precision, active_ms bigint, active_since timestamptz, finished_at timestamptz, updated_at timestamptz
)
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  -- Whoever calls this in a transaction has the same organization behind it as before.
  org_before text := coalesce(current_setting('runyard.org', true), '');
  org_now text := set_config('runyard.org', p_org, true);
  ends boolean := coalesce(runyard.is_terminal(p_status), false);
  asked int := cardinality(p_request_ids);
  line_bytes bigint := 0;
  in_turn int;
begin
  if ends then
    perform 1 from runyard.org_slots s where s.org_id = p_org for no key update;
  end if;
  if cardinality(p_lines) > 0 then
    line_bytes := (select sum(octet_length(l)) from unnest(p_lines) l);
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
    returning x.turn, x.status, x.phase, x.spec, x.cancel_reason, x.open_requests, x.last_seq, x.out_cursor, x.usage_cursor,
        x.in_size, x.percentage, x.active_ms, x.active_since, x.finished_at, x.updated_at
      into in_turn, status, phase, spec, cancel_reason, open_requests, last_seq, out_cursor, usage_cursor,
        in_size, percentage, active_ms, active_since, finished_at, updated_at;
  if not found then
    org_now := set_config('runyard.org', org_before, true);
    return;
  end if;

  if cardinality(p_types) > 0 then
    insert into runyard.events (run_id, seq, org_id, turn, attempt, type, data)
      select p_run, commit_step.last_seq - cardinality(p_types) + o, p_org, in_turn, p_attempt, t, d::json
        from unnest(p_types, p_data) with ordinality e(t, d, o);
  end if;
  if asked > 0 then
    insert into runyard.requests (run_id, id, org_id, attempt, off, kind, request)
      select p_run, i, p_org, p_attempt, o, k, q::json
        from unnest(p_request_ids, p_request_kinds, p_request_offsets, p_requests) e(i, k, o, q);
  end if;
  if cardinality(p_lines) > 0 then
    insert into runyard.inputs (run_id, attempt, off, org_id, line)
      select p_run, p_attempt,
             commit_step.in_size - line_bytes
               + coalesce(sum(octet_length(l)) over (order by o rows between unbounded preceding and 1 preceding), 0),
             p_org, l
        from unnest(p_lines) with ordinality e(l, o);
  end if;
  if ends then
    update runyard.requests q set closed_at = now() where q.run_id = p_run and q.closed_at is null;
    update runyard.org_slots s set active = s.active - 1 where s.org_id = p_org;
  end if;
  org_now := set_config('runyard.org', org_before, true);
  return next;
end $f$;
