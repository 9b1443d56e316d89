-- Effects on somebody else's systems: decided and stored first, done later, as often as it takes.

create table runyard.outbox (
  id text primary key,
  num bigint generated always as identity unique,
  org_id text not null references runyard.organizations,
  kind text not null,
  -- Names the effect: what is asked for twice is done once.
  key text not null,
  -- The attempt of a run that waits for it; null: nobody does.
  run_id text references runyard.runs,
  attempt int,
  payload json not null,
  status text not null default 'due' check (status in ('due', 'done', 'failed', 'withdrawn')),
  tries int not null default 0,
  next_attempt_at timestamptz not null default now(),
  -- Who is at it, by a word that every try has a new one of, and until when nobody else may be.
  performer text,
  lease text,
  leased_until timestamptz,
  -- Why the last try failed.
  problem json,
  outcome json,
  created_at timestamptz not null default now(),
  finished_at timestamptz,
  unique (org_id, kind, key),
  check ((run_id is null) = (attempt is null))
);
create index outbox_due on runyard.outbox (next_attempt_at) where status = 'due';
create index outbox_by_run on runyard.outbox (run_id) where run_id is not null;
call runyard.protect('runyard.outbox');

-- Takes what is due, of whatever organization, and nobody is at. What a run's attempt asked for that is over is due no more.
create function runyard.claim_effects(p_performer text, p_lease text, p_lease_ms int, p_kinds text[], p_limit int)
returns setof runyard.outbox
language sql security definer set search_path = runyard, pg_temp as $f$
  update runyard.outbox o set
      performer = p_performer, lease = p_lease || ':' || o.id, leased_until = now() + p_lease_ms * interval '1 millisecond', tries = o.tries + 1
    where o.id in (
      select d.id from runyard.outbox d
        where d.status = 'due' and d.next_attempt_at <= now() and (d.leased_until is null or d.leased_until <= now()) and d.kind = any(p_kinds)
          and (d.run_id is null or exists (
            select from runyard.runs r where r.id = d.run_id and r.attempt = d.attempt and not runyard.is_terminal(r.status)))
        order by d.next_attempt_at limit p_limit for update skip locked)
    returning o.*
$f$;
alter function runyard.claim_effects owner to runyard_system;

-- What a performer that is gone was at: nobody else need wait for its leases to end.
create function runyard.release_effects(p_performer text) returns void
language sql security definer set search_path = runyard, pg_temp as $f$
  update runyard.outbox o set leased_until = null where o.status = 'due' and o.performer = p_performer
$f$;
alter function runyard.release_effects owner to runyard_system;
