-- What servers of repositories on other machines are shown, encrypted by the servers as secrets are.

create table runyard.credentials (
  id text primary key,
  num bigint generated always as identity unique,
  org_id text not null references runyard.organizations,
  -- What the URLs of its repositories begin with; kind, URL and user are authenticated with the value.
  url text not null,
  kind text not null check (kind in ('token', 'ssh-key', 'github-app')),
  -- Of a token: the user whose password it is.
  username text,
  -- Of a key for SSH: lines of a known_hosts file; null: learned when its host is first called.
  known_hosts text,
  key_id text not null,
  sealed bytea not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (org_id, url)
);
call runyard.protect('runyard.credentials');
