-- Saved agents. A run keeps what it was given of one: later changes do not reach it.

create table runyard.agents (
  id text primary key,
  num bigint generated always as identity unique,
  org_id text not null references runyard.organizations,
  name text not null,
  -- Everything but its name, with the secrets of its servers.
  definition json not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (org_id, name)
);
call runyard.protect('runyard.agents');
