-- Organizations, people and tokens, repositories, runs and their logs.
--
-- Every row has an org_id. Rows that have a place in the Codegen wire format have a string id and an
-- integer id. Text that an agent made is kept as json, not jsonb: jsonb refuses \u0000 and lone surrogates.

create table runyard.organizations (
  org_id text primary key,
  num bigint generated always as identity unique,
  name text not null,
  created_at timestamptz not null default now()
);

-- One row for each organization: the claim locks it, and so keeps the limit strictly (see claim_run).
create table runyard.org_slots (
  org_id text primary key references runyard.organizations,
  active int not null default 0 check (active >= 0),
  queued int not null default 0 check (queued >= 0),
  max_active int not null default 10 check (max_active > 0)
);

create table runyard.users (
  id text primary key,
  num bigint generated always as identity unique,
  org_id text not null references runyard.organizations,
  name text not null,
  created_at timestamptz not null default now()
);

create table runyard.tokens (
  id text primary key,
  org_id text not null references runyard.organizations,
  user_id text not null references runyard.users,
  hash bytea not null unique,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  revoked_at timestamptz
);

create table runyard.repositories (
  id text primary key,
  num bigint generated always as identity unique,
  org_id text not null references runyard.organizations,
  -- The root of the repository on this machine.
  url text not null,
  created_at timestamptz not null default now(),
  unique (org_id, url)
);

create table runyard.runs (
  id text primary key,
  num bigint generated always as identity unique,
  org_id text not null references runyard.organizations,
  repository_id text not null references runyard.repositories,
  created_by text not null references runyard.users,
  task text not null,
  repository_url text not null,
  branch text,
  base_commit text not null,
  -- agent, model, permissionPolicy, settings, as they were asked for and resolved at creation
  spec json not null,
  simulated boolean not null,

  status text not null,
  phase text not null,
  turn int not null default 1,
  attempt int not null default 0,
  open_requests int not null default 0 check (open_requests >= 0),
  cancel_reason text,

  -- Fencing: only this process, in this attempt, may write for the run.
  owner text,
  runner_id text,
  last_seq int not null default 0,
  -- Bytes of the agent's journals that the log already holds, and bytes that were ever assigned to `in`.
  out_cursor bigint not null default 0,
  in_size bigint not null default 0,
  -- The same for the gateway's journal of the run; it goes on over attempts.
  usage_cursor bigint not null default 0,
  -- What the runner must know to go on in the middle of an attempt; {} until it has begun.
  state json not null default '{}',

  sandbox json,
  result json,
  error json,
  usage json not null,
  percentage double precision,
  -- Active time: what has been used, and since when more is being used.
  active_ms bigint not null default 0,
  active_since timestamptz,
  created_at timestamptz not null default now(),
  started_at timestamptz,
  finished_at timestamptz,
  updated_at timestamptz not null default now()
) with (fillfactor = 50);

create index runs_by_org on runyard.runs (org_id, num desc);
create index runs_queued on runyard.runs (org_id, num) where status = 'pending';
create index runs_by_runner on runyard.runs (runner_id) where status in ('running', 'awaiting_input', 'awaiting_plan');

create table runyard.events (
  run_id text not null,
  seq int not null,
  org_id text not null,
  turn int not null,
  attempt int not null,
  at timestamptz not null default clock_timestamp(),
  type text not null,
  data json not null,
  primary key (run_id, seq)
);

-- The outbox and exact twin of an attempt's journal `in`.
create table runyard.inputs (
  run_id text not null,
  attempt int not null,
  off bigint not null,
  org_id text not null,
  line text not null,
  primary key (run_id, attempt, off)
);

-- Permissions and questions that a person must answer.
create table runyard.requests (
  run_id text not null,
  id text not null,
  org_id text not null,
  attempt int not null,
  off bigint not null,
  kind text not null check (kind in ('permission', 'question')),
  request json not null,
  answer text,
  answered_by text,
  -- null: open. Closed without an answer: the attempt ended first.
  closed_at timestamptz,
  primary key (run_id, id),
  unique (run_id, attempt, off)
);

call runyard.protect('runyard.organizations');
call runyard.protect('runyard.org_slots');
call runyard.protect('runyard.users');
call runyard.protect('runyard.tokens');
call runyard.protect('runyard.repositories');
call runyard.protect('runyard.runs');
call runyard.protect('runyard.events');
call runyard.protect('runyard.inputs');
call runyard.protect('runyard.requests');

create function runyard.is_terminal(p_status text) returns boolean
language sql immutable as $f$ select p_status in ('completed', 'failed', 'cancelled', 'timeout') $f$;

-- Puts events behind the last one of a run whose last_seq was raised in the same transaction.
create function runyard.put_events(p_run runyard.runs, p_types text[], p_data text[]) returns void
language sql as $f$
  insert into runyard.events (run_id, seq, org_id, turn, attempt, type, data)
  select p_run.id, p_run.last_seq - cardinality(p_types) + o, p_run.org_id, p_run.turn, p_run.attempt, t, d::json
    from unnest(p_types, p_data) with ordinality e(t, d, o)
$f$;

-- Active time stops while people are waited for and when a turn has ended.
create function runyard.active_ms_until_now(p_ms bigint, p_since timestamptz) returns bigint
language sql stable as $f$
  select p_ms + coalesce(greatest(0, extract(epoch from clock_timestamp() - p_since) * 1000)::bigint, 0)
$f$;

-- Claims the oldest queued run of an organization that is below its limit, or returns no row.
-- Two statements on purpose: the run is picked with a snapshot that is younger than the lock on the
-- organization's row (a single statement claims twice). Lock order everywhere: organization, then run.
create function runyard.claim_run(p_owner text, p_runner text, p_types text[], p_data text[]) returns setof runyard.runs
language plpgsql security definer set search_path = runyard, pg_temp as $f$
declare
  o text;
  r runyard.runs;
begin
  select s.org_id into o from runyard.org_slots s
    where s.queued > 0 and s.active < s.max_active
    order by random() limit 1
    for no key update skip locked;
  if not found then return; end if;

  update runyard.runs x
    set status = 'running', phase = 'preparing', owner = p_owner, runner_id = p_runner, attempt = x.attempt + 1,
        out_cursor = 0, in_size = 0, state = '{}', last_seq = x.last_seq + cardinality(p_types),
        started_at = coalesce(x.started_at, now()), active_since = clock_timestamp(), updated_at = now()
    where x.id = (select y.id from runyard.runs y where y.org_id = o and y.status = 'pending' order by y.num limit 1 for update skip locked)
    returning x.* into r;
  if not found then return; end if;
  update runyard.org_slots s set active = s.active + 1, queued = s.queued - 1 where s.org_id = o;
  perform runyard.put_events(r, p_types, p_data);
  return next r;
end $f$;

-- Takes over every living run of a runner. An UPDATE, never a SELECT before it: the row lock waits for
-- the dead owner's last transaction, and what RETURNING gives is the truth.
create function runyard.adopt_runs(p_owner text, p_runner text) returns setof runyard.runs
language sql security definer set search_path = runyard, pg_temp as $f$
  update runyard.runs set owner = p_owner, updated_at = now()
    where runner_id = p_runner and status in ('running', 'awaiting_input', 'awaiting_plan')
    returning *
$f$;

-- What lives on when this runner's server leaves.
create function runyard.living_runs(p_runner text) returns table (id text, attempt int)
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select r.id, r.attempt from runyard.runs r
    where r.runner_id = p_runner and r.status in ('running', 'awaiting_input', 'awaiting_plan')
$f$;

-- Which token is this? Crosses organizations: the organization is not known before.
create function runyard.find_token(p_hash bytea) returns table (token_id text, org_id text, user_id text, scopes text[])
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select t.id, t.org_id, t.user_id, t.scopes from runyard.tokens t where t.hash = p_hash and t.revoked_at is null
$f$;

-- The one write of a runner: cursors, events, requests, lines for the agent and state, in one commit.
-- No row: fenced (another owner or attempt, a cursor that moved, or the turn has ended).
-- What is null in the last eight parameters stays as it is. Everything that an agent's text may be part
-- of comes as a json of its own and is never taken apart here: that would choke on \u0000.
create function runyard.commit_step(
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
      and not runyard.is_terminal(x.status)
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

-- A person's answer, on any node: the first one wins. The answer, its event and its byte range in `in`
-- are one commit. Returns no row when the request is not open any more.
create function runyard.answer_request(
  p_run text, p_request text, p_answer text, p_by text, p_line text, p_type text, p_data text
) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  -- The run first, then the request: the order of commit_step.
  perform 1 from runyard.runs x where x.id = p_run for no key update;
  update runyard.requests q set answer = p_answer, answered_by = p_by, closed_at = now()
    from runyard.runs x
    where q.run_id = p_run and q.id = p_request and q.closed_at is null
      and x.id = q.run_id and x.attempt = q.attempt and not runyard.is_terminal(x.status);
  if not found then return; end if;
  update runyard.runs x set
      last_seq = x.last_seq + 1,
      in_size = x.in_size + octet_length(p_line),
      open_requests = x.open_requests - 1,
      status = case when x.open_requests = 1 and x.status = 'awaiting_input' then 'running' else x.status end,
      active_since = case when x.open_requests = 1 then clock_timestamp() else x.active_since end,
      updated_at = now()
    where x.id = p_run
    returning x.* into r;
  perform runyard.put_events(r, array[p_type], array[p_data]);
  insert into runyard.inputs (run_id, attempt, off, org_id, line)
    values (r.id, r.attempt, r.in_size - octet_length(p_line), r.org_id, p_line);
  return next r;
end $f$;

-- Cancels a queued run at once; of a living one it notes the wish, which the run's runner carries out.
-- Returns no row when the run has ended.
create function runyard.cancel_run(p_run text, p_reason text, p_types text[], p_data text[]) returns setof runyard.runs
language plpgsql set search_path = runyard, pg_temp as $f$
declare
  r runyard.runs;
begin
  perform 1 from runyard.org_slots s where s.org_id = runyard.current_org() for no key update;
  update runyard.runs x set
      status = 'cancelled', cancel_reason = p_reason, last_seq = x.last_seq + cardinality(p_types),
      finished_at = now(), updated_at = now()
    where x.id = p_run and x.status = 'pending'
    returning x.* into r;
  if found then
    perform runyard.put_events(r, p_types, p_data);
    update runyard.org_slots s set queued = s.queued - 1 where s.org_id = r.org_id;
    return next r;
    return;
  end if;
  update runyard.runs x set cancel_reason = coalesce(x.cancel_reason, p_reason), updated_at = now()
    where x.id = p_run and not runyard.is_terminal(x.status)
    returning x.* into r;
  if found then return next r; end if;
end $f$;

alter function runyard.claim_run owner to runyard_system;
alter function runyard.adopt_runs owner to runyard_system;
alter function runyard.living_runs owner to runyard_system;
alter function runyard.find_token owner to runyard_system;
