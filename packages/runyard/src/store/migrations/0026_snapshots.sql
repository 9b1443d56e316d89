-- Set-up of runs, and snapshots of what it made.

-- Default of a repository's runs.
alter table runyard.repositories add column setup json;

create table runyard.snapshots (
  id text primary key,
  num bigint generated always as identity unique,
  org_id text not null references runyard.organizations,
  repository_url text not null,
  cache_key text not null,
  driver text not null,
  commands json not null,
  commands_hash text not null,
  -- Whose disk it lies on.
  runner_id text not null,
  -- Which run made it.
  run_id text not null references runyard.runs,
  bytes bigint not null,
  files int not null,
  -- Of names, kinds, sizes and times of its files: what lies on the disk must still be that.
  fingerprint text not null,
  hits int not null default 0,
  created_at timestamptz not null default now(),
  last_used_at timestamptz not null default now(),
  -- Nobody finds it any more, and its runner removes it from its disk; then the row goes, too.
  removed_at timestamptz
);
create unique index snapshots_by_key on runyard.snapshots (org_id, repository_url, cache_key, driver, commands_hash, runner_id)
  where removed_at is null;
create index snapshots_by_runner on runyard.snapshots (runner_id);
call runyard.protect('runyard.snapshots');

-- What lies on a runner's disk, of whatever organization.
create function runyard.snapshots_of(p_runner_id text)
returns table (id text, org_id text, bytes bigint, last_used_at timestamptz, removed_at timestamptz)
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select s.id, s.org_id, s.bytes, s.last_used_at, s.removed_at from runyard.snapshots s where s.runner_id = p_runner_id
$f$;
alter function runyard.snapshots_of owner to runyard_system;
