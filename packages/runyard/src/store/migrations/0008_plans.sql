-- A turn may make a plan first, about which a person decides before anything may be changed. A run that
-- waits for that decision has no owner and no place in its organization's limit; it queues again afterwards.

alter table runyard.organizations
  -- Whether runs make a plan first, where neither they nor their repository say anything.
  add column plan_first boolean not null default false;

alter table runyard.repositories
  add column plan_first boolean,
  -- What every plan of the repository goes by.
  add column planning_statement text,
  add column auto_confirm_plans boolean not null default false;

alter table runyard.runs
  -- Whether this turn is (still) to make a plan before anything may be changed.
  add column plans boolean not null default false,
  -- Whether a runner has taken up this turn before.
  add column begun boolean not null default false,
  -- The number of the run's newest plan; 0: it has none.
  add column plan_version int not null default 0,
  -- When the policy decides about the plan that waits; null: never.
  add column plan_due_at timestamptz;

update runyard.runs set begun = true where status <> 'pending' or lost_turn = turn;

create index runs_plans_due on runyard.runs (plan_due_at) where status = 'awaiting_plan';

create table runyard.plans (
  org_id text not null references runyard.organizations,
  run_id text not null references runyard.runs on delete cascade,
  version int not null,
  turn int not null,
  state text not null check (state in ('proposed', 'approved', 'edited', 'revised', 'rejected', 'withdrawn')),
  source text not null check (source in ('tool', 'steps', 'message', 'person')),
  text text not null,
  -- SHA-256 of the text in UTF-8, as hex.
  hash text not null,
  proposed_at timestamptz not null default now(),
  decided_at timestamptz,
  -- A person; null where the policy decided.
  decided_by text references runyard.users,
  -- The feedback of a revision, the reason of a rejection.
  note text,
  primary key (run_id, version)
);
call runyard.protect('runyard.plans');

-- Ends the attempt of a plan phase with its plan: the run waits for a decision, without an owner and without a
-- place in its organization's limit. No row: fenced, as in commit_step, or to be cancelled.
create function runyard.propose_plan(
  p_run text, p_owner text, p_attempt int, p_types text[], p_data text[], p_state json,
  p_source text, p_text text, p_hash text, p_due_ms bigint
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = 'awaiting_plan', owner = null, open_requests = 0, state = p_state,
      last_seq = x.last_seq + cardinality(p_types),
      active_ms = runyard.active_ms_until_now(x.active_ms, x.active_since), active_since = null,
      plan_version = x.plan_version + 1, plan_due_at = now() + make_interval(secs => p_due_ms / 1000.0),
      updated_at = now()
    where x.id = p_run and x.owner = p_owner and x.attempt = p_attempt and x.status = 'running' and x.plans
      -- Somebody wants it cancelled: its runner sees to that.
      and x.cancel_reason is null
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  update runyard.requests q set closed_at = now() where q.run_id = r.id and q.closed_at is null;
  insert into runyard.plans (org_id, run_id, version, turn, state, source, text, hash)
    values (r.org_id, r.id, r.plan_version, r.turn, 'proposed', p_source, p_text, p_hash);
  update runyard.org_slots s set active = s.active - 1 where s.org_id = r.org_id;
  return next r;
end $f$;

-- Decides about the plan that waits: 'approved' (with p_text in words of a person's own, as a version of its
-- own), 'revised' or 'rejected'. The first decision wins. No row: no plan waits, or it is another version.
create function runyard.decide_plan(
  p_run text, p_version int, p_decision text, p_by text, p_note text, p_text text, p_hash text, p_carry json,
  p_types text[], p_data text[]
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  goes_on boolean := p_decision <> 'rejected';
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = case when goes_on then 'pending' else 'cancelled' end,
      phase = case when goes_on then 'queued' else x.phase end,
      plans = p_decision <> 'approved',
      plan_version = x.plan_version + case when p_text is null then 0 else 1 end,
      plan_due_at = null,
      carry = coalesce(p_carry, x.carry),
      state = case when goes_on then '{}' else x.state end,
      finished_at = case when goes_on then null else now() end,
      last_seq = x.last_seq + cardinality(p_types), updated_at = now()
    where x.id = p_run and x.status = 'awaiting_plan' and x.plan_version = p_version
    returning x.* into r;
  if not found then return; end if;
  perform runyard.put_events(r, p_types, p_data);
  update runyard.plans n set
      state = case when p_text is null then p_decision else 'edited' end,
      decided_at = now(), decided_by = p_by, note = p_note
    where n.run_id = p_run and n.version = p_version;
  if p_text is not null then
    insert into runyard.plans (org_id, run_id, version, turn, state, source, text, hash, decided_at, decided_by, note)
      values (r.org_id, r.id, r.plan_version, r.turn, p_decision, 'person', p_text, p_hash, now(), p_by, p_note);
  end if;
  if goes_on then
    update runyard.org_slots s set queued = s.queued + 1 where s.org_id = r.org_id;
  end if;
  return next r;
end $f$;

-- Runs whose plan nobody has decided about in time, of every organization.
create function runyard.due_plans(p_limit int) returns table (org_id text, id text, version int)
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select r.org_id, r.id, r.plan_version from runyard.runs r
    where r.status = 'awaiting_plan' and r.plan_due_at <= now() order by r.plan_due_at limit p_limit
$f$;

-- The same as before, and a run that nobody has in hand is cancelled at once.
create or replace function runyard.cancel_run(p_run text, p_reason text, p_types text[], p_data text[]) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  was runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  select x.* into was from runyard.runs x where x.id = p_run for no key update;
  if was.status = 'pending' or (was.owner is null and not runyard.is_terminal(was.status)) then
    update runyard.runs x set
        status = 'cancelled', cancel_reason = p_reason, last_seq = x.last_seq + cardinality(p_types),
        open_requests = 0, plan_due_at = null, finished_at = now(), updated_at = now()
      where x.id = p_run
      returning x.* into r;
    perform runyard.put_events(r, p_types, p_data);
    if was.status = 'pending' then
      update runyard.org_slots s set queued = s.queued - 1 where s.org_id = r.org_id;
    end if;
    update runyard.requests q set closed_at = now() where q.run_id = p_run and q.closed_at is null;
    update runyard.plans n set state = 'withdrawn', decided_at = now() where n.run_id = p_run and n.state = 'proposed';
    return next r;
    return;
  end if;
  update runyard.runs x set cancel_reason = coalesce(x.cancel_reason, p_reason), updated_at = now()
    where x.id = p_run and not runyard.is_terminal(x.status)
    returning x.* into r;
  if found then return next r; end if;
end $f$;

-- The same as before, but for runs that nobody has in hand.
create or replace function runyard.adopt_runs(p_owner text, p_runner text) returns setof runyard.runs
language sql security definer set search_path = runyard, pg_temp as $f$
  update runyard.runs set owner = p_owner, updated_at = now()
    where runner_id = p_runner and owner is not null and status in ('running', 'awaiting_input', 'awaiting_plan')
    returning *
$f$;

create or replace function runyard.living_runs(p_runner text) returns table (id text, attempt int)
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select r.id, r.attempt from runyard.runs r
    where r.runner_id = p_runner and r.owner is not null and r.status in ('running', 'awaiting_input', 'awaiting_plan')
$f$;

drop function runyard.claim_run(text, text, text[], text[], text[], text[]);

-- Claims the oldest queued run of an organization that is below its limit, or returns no row. The events by
-- what the claim begins: the run, a later turn of it, or (again) a turn that was begun before.
-- Two statements on purpose: the run is picked with a snapshot that is younger than the lock on the
-- organization's row (a single statement claims twice). Lock order everywhere: organization, then run.
create function runyard.claim_run(
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
    order by random() limit 1
    for no key update skip locked;
  if not found then return; end if;

  select y.* into q from runyard.runs y
    where y.org_id = o and y.status = 'pending' order by y.num limit 1 for update skip locked;
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
alter function runyard.claim_run owner to runyard_system;
alter function runyard.due_plans owner to runyard_system;

drop function runyard.continue_run(text, int, text, json, json, json, text[], text[]);

-- Begins the next turn of a run whose turn number p_turn has ended. Returns no row when it has not ended, or
-- somebody else was faster. With p_error the new turn has failed before anybody took it up.
create function runyard.continue_run(
  p_run text, p_turn int, p_prompt text, p_spec json, p_carry json, p_error json, p_plans boolean, p_types text[], p_data text[]
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = case when p_error is null then 'pending' else 'failed' end,
      phase = 'queued', turn = x.turn + 1, prompt = p_prompt, spec = p_spec, carry = p_carry, state = '{}',
      begun = false, plans = p_plans,
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
