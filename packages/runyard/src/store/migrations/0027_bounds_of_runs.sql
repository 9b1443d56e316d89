-- What holds runs in: how well their sandboxes must be isolated, which hosts they may reach, and how much memory their
-- runner has for them.

alter table runyard.organizations
  -- What a sandbox must keep; null: as the server has it.
  add column isolation_floor text check (isolation_floor in ('none', 'sandbox', 'strict')),
  add column egress text[] not null default '{}',
  -- The only hosts that runs may be given; null: any.
  add column egress_allowed text[];
alter table runyard.repositories
  add column egress text[] not null default '{}';

-- What a run was not let to reach is shown with it, and is to be found without reading its log.
create index events_egress_denied on runyard.events (run_id, seq) where type = 'egress.denied';

-- What a run was not let to reach, as it stands in its log. Nothing is taken apart here.
create function runyard.egress_denied(p_run text) returns json
language sql stable set search_path = runyard, pg_temp as $f$
  select json_agg(d.data) from (
    select e.data from runyard.events e where e.run_id = p_run and e.type = 'egress.denied' order by e.seq limit 500) d
$f$;

alter table runyard.runs
  -- Of the sandbox that the run asked for. Runs from before count as the smallest.
  add column memory_bytes bigint not null default 2147483648 check (memory_bytes > 0),
  -- Of the larger one that a turn was given when it ran out of memory.
  add column recovery_bytes bigint check (recovery_bytes > 0),
  -- How many runs went past this one, since it was queued, because its sandbox did not fit beside those at work.
  add column overtaken int not null default 0;

-- The memory of a run's sandbox; a turn that has not begun is given what the run asked for.
create function runyard.memory_needed(p_begun boolean, p_memory bigint, p_recovery bigint) returns bigint
language sql immutable as $f$ select case when p_begun then coalesce(p_recovery, p_memory) else p_memory end $f$;

create index runs_queued_by_memory on runyard.runs (runyard.memory_needed(begun, memory_bytes, recovery_bytes), num) where status = 'pending';
create index runs_overtaken on runyard.runs (num) where status = 'pending' and overtaken > 0;

-- How the memory of runners stands, for core/memory.ts, which decides. With p_runner that one's alone, whose sandboxes
-- may have p_budget together; else that of all who live and have told how much they have. `waiting` is the oldest run
-- that could begin there, were it not for its memory, or before it one past which p_most others went. Nobody looks for
-- one where not even p_least is left. It locks nothing: who claims for a runner is one process, which does it step by step.
create function runyard.memory_rooms(p_runner text, p_budget bigint, p_least bigint, p_most int)
  returns table (runner_id text, budget_bytes bigint, held_bytes bigint, waiting_id text, waiting_bytes bigint, waiting_overtaken int)
language plpgsql stable security definer set search_path = runyard, pg_temp as $f$
declare
  n record;
begin
  for n in
    select p_runner as id, p_budget as budget where p_runner is not null
    union all
    select m.id, (m.offers ->> 'memoryBudgetBytes')::bigint from runyard.runners m
      where p_runner is null and m.lost_at is null and m.offers ->> 'memoryBudgetBytes' is not null
  loop
    runner_id := n.id;
    budget_bytes := n.budget;
    held_bytes := coalesce((
      select sum(runyard.memory_needed(r.begun, r.memory_bytes, r.recovery_bytes)) from runyard.runs r
        where r.runner_id = n.id and r.owner is not null and r.status in ('running', 'awaiting_input')), 0);
    waiting_id := null;
    waiting_bytes := null;
    waiting_overtaken := null;
    if budget_bytes - held_bytes >= p_least then
      select w.id, w.needed, w.overtaken into waiting_id, waiting_bytes, waiting_overtaken
        from (
          (select y.id, y.num, y.overtaken, y as run, runyard.memory_needed(y.begun, y.memory_bytes, y.recovery_bytes) as needed
             from runyard.runs y
             where y.status = 'pending' and runyard.memory_needed(y.begun, y.memory_bytes, y.recovery_bytes) > budget_bytes - held_bytes
               and runyard.memory_needed(y.begun, y.memory_bytes, y.recovery_bytes) <= budget_bytes
               and (y.only_runner is null or y.only_runner = n.id)
             order by y.num limit 20)
          union all
          (select y.id, y.num, y.overtaken, y as run, runyard.memory_needed(y.begun, y.memory_bytes, y.recovery_bytes) as needed
             from runyard.runs y
             where y.status = 'pending' and y.overtaken > 0 and y.overtaken >= p_most
               and runyard.memory_needed(y.begun, y.memory_bytes, y.recovery_bytes) <= budget_bytes
               and (y.only_runner is null or y.only_runner = n.id)
             order by y.num limit 20)) w
          join runyard.org_slots s on s.org_id = (w.run).org_id
        where s.active < s.max_active and runyard.waits_for_cap(w.run) is null
        order by w.overtaken >= p_most desc, w.num limit 1;
    end if;
    return next;
  end loop;
end $f$;
alter function runyard.memory_rooms owner to runyard_system;

drop function runyard.claim_run(text, text, text[], text[], text[], text[], text[], text[]);

-- Claims the oldest queued run that this runner may take up and that fits under the caps of its organization and of its
-- agent, of an organization that is below its limit, or returns no row. Its sandbox has at most p_room of memory (null:
-- any), or it is the run p_first. The run p_passed is one that this one goes past. The events by what the claim begins:
-- the run, a later turn of it, or (again) a turn that was begun before.
-- Two statements on purpose: the run is picked with a snapshot that is younger than the lock on the
-- organization's row (a single statement claims twice). Lock order everywhere: organization, then run.
create function runyard.claim_run(
  p_owner text, p_runner text, p_types text[], p_data text[], p_later_types text[], p_later_data text[],
  p_again_types text[], p_again_data text[], p_room bigint, p_first text, p_passed text
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
        and (p_room is null or y.id = p_first or runyard.memory_needed(y.begun, y.memory_bytes, y.recovery_bytes) <= p_room)
      order by y.num limit 1 for update skip locked;
    exit when found;
    -- Nor one whose queued runs all wait for what they may spend, or for memory.
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
        recovery_bytes = case when q.begun then q.recovery_bytes end, overtaken = 0,
        -- Of two caps the tighter one counts; least() passes over the one that is not there.
        allowance_nano = case when not is_bound then null
                              when least(left_nano, agent_left) <= 0 then 0
                              else coalesce(runyard.wanted_nano(q, least(cap, agent_cap)), least(left_nano, agent_left)) end,
        allowance_from_nano = case when is_bound then runyard.spent_nano(x.usage) end,
        started_at = coalesce(x.started_at, now()), active_since = clock_timestamp(), updated_at = now()
    where x.id = q.id
    returning x.* into r;
  update runyard.org_slots s set active = s.active + 1, queued = s.queued - 1 where s.org_id = o;
  -- It may be of another organization, whose lock is not held: whoever has it is not waited for.
  update runyard.runs x set overtaken = x.overtaken + 1
    where x.id = (
      select y.id from runyard.runs y where y.id = p_passed and y.status = 'pending' and y.num < q.num for update skip locked);
  perform runyard.put_events(r, p_types, p_data);
  return next r;
end $f$;
alter function runyard.claim_run owner to runyard_system;
