-- A turn that may cost too much waits for a person before it begins; and a saved agent may have a daily cap as its
-- organization may.

alter table runyard.organizations
  -- US dollars: above such an estimate a person decides; null: nobody does.
  add column approval_above_usd double precision check (approval_above_usd >= 0);
alter table runyard.repositories
  add column approval_above_usd double precision check (approval_above_usd >= 0);

-- An approval is asked for by the run itself, before any attempt of the turn has begun: its `off` is -turn.
alter table runyard.requests
  drop constraint requests_kind_check,
  add constraint requests_kind_check check (kind in ('permission', 'question', 'approval'));

-- The approval that a run's turn waits for, which nobody has in hand until then.
create function runyard.request_approval(p_run runyard.runs, p_id text, p_request json) returns void
language sql set search_path = runyard, pg_temp as $f$
  insert into runyard.requests (run_id, id, org_id, attempt, off, kind, request)
    values (p_run.id, p_id, p_run.org_id, p_run.attempt, -p_run.turn, 'approval', p_request)
$f$;

-- Decides about the approval that a run waits for: 'approved' queues it, 'rejected' ends it. The first decision wins.
-- No row: it does not wait for this one.
create function runyard.decide_approval(
  p_run text, p_id text, p_decision text, p_by text, p_types text[], p_data text[]
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
  begins boolean := p_decision = 'approved';
begin
  -- The organization, the run, then the request: the order of everybody else.
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  perform 1 from runyard.runs x where x.id = p_run for no key update;
  update runyard.requests q set answer = p_decision, answered_by = p_by, closed_at = now()
    where q.run_id = p_run and q.id = p_id and q.kind = 'approval' and q.closed_at is null;
  if not found then return; end if;
  update runyard.runs x set
      status = case when begins then 'pending' else 'cancelled' end,
      open_requests = 0, finished_at = case when begins then null else now() end,
      last_seq = x.last_seq + cardinality(p_types), updated_at = now()
    where x.id = p_run
    returning x.* into r;
  perform runyard.put_events(r, p_types, p_data);
  if begins then
    update runyard.org_slots s set queued = s.queued + 1 where s.org_id = r.org_id;
  end if;
  return next r;
end $f$;

drop function runyard.continue_run(text, int, text, json, json, json, boolean, text[], text[]);

-- Begins the next turn of a run whose turn number p_turn has ended. Returns no row when it has not ended, or
-- somebody else was faster. With p_error the new turn has failed before anybody took it up; with p_approval it waits
-- for a person first, in nobody's hands.
create function runyard.continue_run(
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
      begun = false, plans = p_plans,
      owner = case when p_approval is null then x.owner end,
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

alter table runyard.agents
  -- What all runs of the agent together may spend in a day (UTC), in nano US dollars; null: no cap.
  add column daily_cap_nano bigint check (daily_cap_nano > 0);

-- What the runs of an agent have spent on each day; kept when the agent is deleted, as its runs are.
create table runyard.agent_spending (
  org_id text not null references runyard.organizations,
  agent_id text not null,
  day date not null,
  nano_usd bigint not null,
  primary key (org_id, agent_id, day)
);
call runyard.protect('runyard.agent_spending');

alter table runyard.runs
  -- The saved agent that the run was given, whatever its name is by now; null: none.
  add column agent_id text;

-- What a run spends is the day's when it is committed, of its organization and of its agent.
create or replace function runyard.count_spending() returns trigger
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  more bigint := runyard.spent_nano(new.usage) - runyard.spent_nano(old.usage);
begin
  insert into runyard.spending as s (org_id, day, nano_usd) values (new.org_id, runyard.today(), more)
    on conflict (org_id, day) do update set nano_usd = s.nano_usd + excluded.nano_usd;
  if new.agent_id is not null then
    insert into runyard.agent_spending as s (org_id, agent_id, day, nano_usd) values (new.org_id, new.agent_id, runyard.today(), more)
      on conflict (org_id, agent_id, day) do update set nano_usd = s.nano_usd + excluded.nano_usd;
  end if;
  return null;
end $f$;

create function runyard.agent_spent_today_nano(p_org text, p_agent text) returns bigint
language sql stable set search_path = runyard, pg_temp as $f$
  select coalesce((
    select s.nano_usd from runyard.agent_spending s
      where s.org_id = p_org and s.agent_id = p_agent and s.day = runyard.today()), 0)
$f$;

-- The agents of an organization that have a cap (or that one of them), and what is left of it: neither spent nor held
-- for a run in hand.
create function runyard.agent_rooms(p_org text, p_agent text) returns table (agent text, room_cap bigint, room_left bigint)
language sql stable set search_path = runyard, pg_temp as $f$
  select a.id, a.daily_cap_nano,
         a.daily_cap_nano - runyard.agent_spent_today_nano(p_org, a.id) - coalesce((
           select sum(greatest(0, r.allowance_nano - (runyard.spent_nano(r.usage) - r.allowance_from_nano)))
             from runyard.runs r
             where r.org_id = p_org and r.agent_id = a.id and r.owner is not null
               and r.status in ('running', 'awaiting_input') and r.allowance_nano is not null), 0)::bigint
    from runyard.agents a
    where a.org_id = p_org and a.daily_cap_nano is not null and (p_agent is null or a.id = p_agent)
$f$;

-- Whether what is left of its agent's cap is enough for a run, which wants no more than p_cap. Where it is not, the run
-- waits, for the next day too.
create function runyard.fits_agent(p_run runyard.runs, p_cap bigint, p_left bigint) returns boolean
language sql stable set search_path = runyard, pg_temp as $f$
  select runyard.is_free(p_run) or (p_left > 0 and coalesce(runyard.wanted_nano(p_run, p_cap), 1) <= p_left)
$f$;

drop function runyard.waits_for_cap(runyard.runs);

-- Whose cap a queued run waits for, of a row of runs: 'agent-daily-cap', 'daily-cap' (its organization's), or null.
create function runyard.waits_for_cap(p_run runyard.runs) returns text
language plpgsql stable set search_path = runyard, pg_temp as $f$
declare
  cap bigint;
  held bigint;
  agent_cap bigint;
  agent_left bigint;
begin
  if p_run.status <> 'pending' then return null; end if;
  select o.daily_cap_nano into cap from runyard.organizations o where o.org_id = p_run.org_id;
  if p_run.agent_id is not null then
    select m.room_cap, m.room_left into agent_cap, agent_left from runyard.agent_rooms(p_run.org_id, p_run.agent_id) m;
  end if;
  if agent_cap is not null and not runyard.fits_agent(p_run, least(cap, agent_cap), agent_left) then return 'agent-daily-cap'; end if;
  if cap is null then return null; end if;
  held := runyard.held_nano(p_run.org_id);
  if runyard.may_begin(p_run, least(cap, agent_cap), cap - runyard.spent_today_nano(p_run.org_id) - held, held) then return null; end if;
  return 'daily-cap';
end $f$;

-- Claims the oldest queued run that this runner may take up and that fits under the caps of its organization and of its
-- agent, of an organization that is below its limit, or returns no row. The events by what the claim begins: the run, a
-- later turn of it, or (again) a turn that was begun before.
-- Two statements on purpose: the run is picked with a snapshot that is younger than the lock on the
-- organization's row (a single statement claims twice). Lock order everywhere: organization, then run.
create or replace function runyard.claim_run(
  p_owner text, p_runner text, p_types text[], p_data text[], p_later_types text[], p_later_data text[],
  p_again_types text[], p_again_data text[]
) returns setof runyard.runs
language plpgsql security definer set search_path = runyard, pg_temp as $f$
declare
  o text;
  r runyard.runs;
  q runyard.runs;
  tried text[] := '{}';
  cap bigint;
  held bigint;
  left_nano bigint;
  -- Of the agents that have a cap, one beside the other. No join: the oldest run is found by the queue's index alone.
  agents text[];
  agent_caps bigint[];
  agent_lefts bigint[];
  agent_cap bigint;
  agent_left bigint;
  is_bound boolean;
begin
  loop
    select s.org_id into o from runyard.org_slots s
      where s.queued > 0 and s.active < s.max_active and s.org_id <> all (tried)
        -- One whose queued runs are all for others must not stand in the way of the rest.
        and exists (
          select from runyard.runs y
            where y.org_id = s.org_id and y.status = 'pending' and (y.only_runner is null or y.only_runner = p_runner))
      order by random() limit 1
      for no key update skip locked;
    if not found then return; end if;

    cap := (select g.daily_cap_nano from runyard.organizations g where g.org_id = o);
    held := case when cap is null then 0 else runyard.held_nano(o) end;
    left_nano := cap - runyard.spent_today_nano(o) - held;
    select array_agg(m.agent), array_agg(m.room_cap), array_agg(m.room_left) into agents, agent_caps, agent_lefts
      from runyard.agent_rooms(o, null) m;
    select y.* into q from runyard.runs y
      where y.org_id = o and y.status = 'pending' and (y.only_runner is null or y.only_runner = p_runner)
        and (cap is null or runyard.may_begin(y, least(cap, agent_caps[array_position(agents, y.agent_id)]), left_nano, held))
        and (array_position(agents, y.agent_id) is null
          or runyard.fits_agent(y, least(cap, agent_caps[array_position(agents, y.agent_id)]), agent_lefts[array_position(agents, y.agent_id)]))
      order by y.num limit 1 for update skip locked;
    exit when found;
    -- Nor one whose queued runs all wait for what they may spend.
    tried := tried || o;
  end loop;
  if q.begun then
    p_types := p_again_types;
    p_data := p_again_data;
  elsif q.turn > 1 then
    p_types := p_later_types;
    p_data := p_later_data;
  end if;
  agent_cap := agent_caps[array_position(agents, q.agent_id)];
  agent_left := agent_lefts[array_position(agents, q.agent_id)];
  is_bound := (cap is not null or agent_cap is not null) and not runyard.is_free(q);
  update runyard.runs x
    set status = 'running', phase = 'preparing', owner = p_owner, runner_id = p_runner, attempt = x.attempt + 1,
        begun = true, out_cursor = 0, in_size = 0, state = case when q.begun then q.state else '{}' end, last_seq = x.last_seq + cardinality(p_types),
        -- Of two caps the tighter one counts; least() passes over the one that is not there.
        allowance_nano = case when not is_bound then null
                              when least(left_nano, agent_left) <= 0 then 0
                              else coalesce(runyard.wanted_nano(q, least(cap, agent_cap)), least(left_nano, agent_left)) end,
        allowance_from_nano = case when is_bound then runyard.spent_nano(x.usage) end,
        started_at = coalesce(x.started_at, now()), active_since = clock_timestamp(), updated_at = now()
    where x.id = q.id
    returning x.* into r;
  update runyard.org_slots s set active = s.active + 1, queued = s.queued - 1 where s.org_id = o;
  perform runyard.put_events(r, p_types, p_data);
  return next r;
end $f$;
