-- Creating runs: keys that make a create safe to repeat, and how many creates a token has.
--
-- Lock order of a create: its key, its token, then organization and run as everywhere. Nobody who holds
-- one of the later ones ever waits for an earlier one.

-- Creates in any 60 seconds; null: no limit. What is counted is counted by reading it, so there is a most.
alter table runyard.tokens
  add column creates_per_minute int default 600 check (creates_per_minute between 1 and 10000);

create table runyard.idempotency_keys (
  org_id text not null references runyard.organizations,
  key text not null,
  -- SHA-256 of the parsed body with its defaults: another body under the same key is a mistake.
  body_hash bytea not null,
  -- The key is taken before the run is stored, in the same transaction.
  run_id text not null references runyard.runs on delete cascade deferrable initially deferred,
  expires_at timestamptz not null,
  primary key (org_id, key)
);
create index idempotency_keys_by_expiry on runyard.idempotency_keys (org_id, expires_at);
call runyard.protect('runyard.idempotency_keys');

-- The creates of the last minute, for tokens that have a limit.
create table runyard.token_creates (
  org_id text not null,
  token_id text not null,
  at timestamptz not null,
  foreign key (org_id, token_id) references runyard.tokens (org_id, id) on delete cascade
);
create index token_creates_by_time on runyard.token_creates (token_id, at);
call runyard.protect('runyard.token_creates');

-- How many creates a token has left, and in how many milliseconds there is one more. All null: no limit.
create function runyard.creates_left(p_token text, out quota int, out remaining int, out reset_ms int)
language plpgsql volatile set search_path = runyard, pg_temp as $f$
declare
  present timestamptz := clock_timestamp();
  used int;
  oldest timestamptz;
begin
  select t.creates_per_minute into quota from runyard.tokens t where t.id = p_token;
  if quota is null then return; end if;
  -- The newest ones only: after the limit was lowered, there may be more than it allows.
  select count(*), min(c.at) into used, oldest
    from (select x.at from runyard.token_creates x
            where x.token_id = p_token and x.at > present - interval '1 minute' order by x.at desc limit quota) c;
  remaining := quota - used;
  reset_ms := coalesce(ceil(extract(epoch from oldest + interval '1 minute' - present) * 1000), 0);
end $f$;

-- What stands before a create, without deciding anything: the run of its key, or that the token has no
-- create left. Spares the work of a create that cannot come to anything.
create function runyard.look_before_create(
  p_token text, p_key text, p_hash bytea,
  out outcome text, out known_run text, out quota int, out remaining int, out reset_ms int
)
language plpgsql volatile set search_path = runyard, pg_temp as $f$
declare
  known runyard.idempotency_keys;
begin
  select * into quota, remaining, reset_ms from runyard.creates_left(p_token);
  outcome := case when remaining = 0 then 'limited' else 'new' end;
  select k.* into known from runyard.idempotency_keys k
    where k.org_id = runyard.current_org() and k.key = p_key and k.expires_at > now();
  if not found then return; end if;
  outcome := case when known.body_hash = p_hash then 'replay' else 'mismatch' end;
  known_run := known.run_id;
end $f$;

-- Decides on a create; with the outcome 'new', the same transaction must store the run p_run.
-- Whoever comes with a key that is being used right now waits here until that other create has been
-- committed or given up. A replay takes nothing of the token's limit.
create function runyard.admit_create(
  p_token text, p_key text, p_hash bytea, p_run text,
  out outcome text, out known_run text, out quota int, out remaining int, out reset_ms int
)
language plpgsql volatile set search_path = runyard, pg_temp as $f$
declare
  org text := runyard.current_org();
  known runyard.idempotency_keys;
begin
  while p_key is not null loop
    insert into runyard.idempotency_keys as k (org_id, key, body_hash, run_id, expires_at)
      values (org, p_key, p_hash, p_run, now() + interval '24 hours')
      on conflict (org_id, key) do update
        set body_hash = excluded.body_hash, run_id = excluded.run_id, expires_at = excluded.expires_at
        where k.expires_at <= now();
    exit when found;
    select k.* into known from runyard.idempotency_keys k where k.org_id = org and k.key = p_key;
    -- Not there (any more): an expired one that was just removed.
    continue when not found;
    outcome := case when known.body_hash = p_hash then 'replay' else 'mismatch' end;
    known_run := known.run_id;
    select * into quota, remaining, reset_ms from runyard.creates_left(p_token);
    return;
  end loop;

  -- Creates of one token go one after the other from here on, so each sees those before it.
  perform 1 from runyard.tokens t where t.id = p_token for no key update;
  select * into quota, remaining, reset_ms from runyard.creates_left(p_token);
  if remaining = 0 then
    delete from runyard.idempotency_keys k where k.org_id = org and k.key = p_key and k.run_id = p_run;
    outcome := 'limited';
    return;
  end if;
  if quota is not null then
    insert into runyard.token_creates (org_id, token_id, at) values (org, p_token, clock_timestamp());
    remaining := remaining - 1;
    reset_ms := case when reset_ms = 0 then 60000 else reset_ms end;
  end if;
  outcome := 'new';

  -- What is over goes by the way. Each create adds one row at most and removes more than one.
  delete from runyard.token_creates c where c.ctid in (
    select x.ctid from runyard.token_creates x
      where x.token_id = p_token and x.at <= clock_timestamp() - interval '1 minute' order by x.at limit 20 for update skip locked);
  delete from runyard.idempotency_keys k where k.ctid in (
    select x.ctid from runyard.idempotency_keys x
      where x.org_id = org and x.expires_at <= now() order by x.expires_at limit 20 for update skip locked);
end $f$;
