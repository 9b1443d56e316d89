-- Environment variables and secrets of runs.

alter table runyard.organizations
  -- Plain configuration: names and values.
  add column environment json not null default '{}',
  -- Names of secrets that runs are given.
  add column secret_names text[] not null default '{}';
alter table runyard.repositories
  add column environment json not null default '{}',
  add column secret_names text[] not null default '{}';

-- Secrets, encrypted by the servers: the database never sees a value nor a key. One is an organization's, or a
-- repository's or a saved agent's of it, and goes with that.
create table runyard.secrets (
  id text primary key,
  num bigint generated always as identity unique,
  org_id text not null references runyard.organizations,
  name text not null,
  repository_id text references runyard.repositories on delete cascade,
  agent_id text references runyard.agents on delete cascade,
  -- Which key it was encrypted with; no part of it.
  key_id text not null,
  sealed bytea not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique nulls not distinct (org_id, name, repository_id, agent_id),
  check (num_nonnulls(repository_id, agent_id) <= 1)
);
call runyard.protect('runyard.secrets');

-- What runs were given of them, encrypted anew: it must be known again wherever it turns up, whatever became of the
-- secret since.
create table runyard.run_secrets (
  num bigint generated always as identity primary key,
  run_id text not null references runyard.runs,
  org_id text not null references runyard.organizations,
  name text not null,
  key_id text not null,
  sealed bytea not null,
  given_at timestamptz not null default now()
);
create index run_secrets_by_run on runyard.run_secrets (run_id, num);
call runyard.protect('runyard.run_secrets');

-- Headers of MCP servers were stored as they are. Servers encrypt those at their next start: the database has no key.
alter table runyard.agents add column plain_headers boolean not null default false;
alter table runyard.runs add column plain_headers boolean not null default false;
update runyard.agents set plain_headers = true where definition::text like '%"headers"%';
update runyard.runs set plain_headers = true where spec::text like '%"headers"%';
create index agents_plain_headers on runyard.agents (org_id) where plain_headers;
create index runs_plain_headers on runyard.runs (org_id) where plain_headers;

-- Crosses organizations: whoever starts a server does not know which ones there are.
create function runyard.with_plain_headers() returns table (org_id text)
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select a.org_id from runyard.agents a where a.plain_headers
  union
  select r.org_id from runyard.runs r where r.plain_headers
$f$;
alter function runyard.with_plain_headers owner to runyard_system;
