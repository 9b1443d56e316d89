-- Who commits are by, and results that touch protected files: those wait for a person before they are published.

alter table runyard.organizations
  -- {name, email}; null: Runyard's own.
  add column commit_author json,
  -- Whether commits name who asked.
  add column co_author boolean not null default false,
  -- [{pattern, policy}]
  add column protected_paths json not null default '[]',
  -- Signs commits: the public key, and the private one, encrypted by the servers with the key of that id.
  add column signing_public text,
  add column signing_key_id text,
  add column signing_sealed bytea,
  add check (num_nonnulls(signing_public, signing_key_id, signing_sealed) in (0, 3));
alter table runyard.repositories
  add column commit_author json,
  -- null: as the organization has it.
  add column co_author boolean,
  add column protected_paths json not null default '[]';

alter table runyard.runs
  -- Whether only_runner is for this turn alone.
  add column only_this_turn boolean not null default false;

-- Takes a run out of its runner's hands whose result is made and waits for a person. Only that runner has its commits, so
-- that nobody else takes it up in this turn. No row: fenced, or to be cancelled.
create function runyard.hold_run(
  p_run text, p_owner text, p_attempt int, p_types text[], p_data text[],
  p_request_id text, p_request json, p_carry json, p_state json, p_result json
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = 'awaiting_input', open_requests = 1,
      owner = null, only_runner = x.runner_id, only_this_turn = true, carry = p_carry, state = p_state, result = p_result,
      last_seq = x.last_seq + cardinality(p_types),
      active_ms = runyard.active_ms_until_now(x.active_ms, x.active_since), active_since = null,
      updated_at = now()
    where x.id = p_run and x.owner = p_owner and x.attempt = p_attempt and x.status = 'running' and x.phase = 'publishing'
      and x.cancel_reason is null
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  perform runyard.request_approval(r, p_request_id, p_request);
  update runyard.org_slots s set active = s.active - 1 where s.org_id = r.org_id;
  return next r;
end $f$;

-- Decides about such a run: 'approved' queues it, 'rejected' ends it with p_error. The first decision wins. No row: it does
-- not wait for this one.
create function runyard.decide_held(
  p_run text, p_id text, p_decision text, p_by text, p_error json, p_types text[], p_data text[]
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  goes_on boolean := p_decision = 'approved';
begin
  -- The organization, the run, then the request: the order of everybody else.
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  perform 1 from runyard.runs x where x.id = p_run for no key update;
  update runyard.requests q set answer = p_decision, answered_by = p_by, closed_at = now()
    where q.run_id = p_run and q.id = p_id and q.kind = 'approval' and q.closed_at is null;
  if not found then return; end if;
  update runyard.runs x set
      status = case when goes_on then 'pending' else 'failed' end,
      phase = case when goes_on then 'queued' else x.phase end,
      error = p_error,
      open_requests = 0, finished_at = case when goes_on then null else now() end,
      last_seq = x.last_seq + cardinality(p_types), updated_at = now()
    where x.id = p_run
    returning x.* into r;
  perform runyard.put_events(r, p_types, p_data);
  if goes_on then
    update runyard.org_slots s set queued = s.queued + 1 where s.org_id = r.org_id;
  end if;
  return next r;
end $f$;

-- Once the turn is over, any runner may take up the next one, as before.
create function runyard.forget_only_runner() returns trigger
language plpgsql set search_path = runyard, pg_temp as $f$
begin
  new.only_runner := null;
  new.only_this_turn := false;
  return new;
end $f$;
create trigger forget_only_runner before update of status on runyard.runs for each row
  when (new.only_this_turn and runyard.is_terminal(new.status))
  execute function runyard.forget_only_runner();
