-- Signing in with a browser: one-time links and the sessions that they begin.
--
-- A session stands for the token that made its link, with that token's scopes at this moment: revoking
-- the token ends it. Of links and sessions only hashes (SHA-256) are stored.

alter table runyard.tokens add unique (org_id, id);

create table runyard.logins (
  hash bytea primary key,
  org_id text not null,
  token_id text not null,
  kind text not null check (kind in ('link', 'session')),
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  -- Nobody signs in as a token of another organization.
  foreign key (org_id, token_id) references runyard.tokens (org_id, id)
);
create index logins_by_expiry on runyard.logins (expires_at);
call runyard.protect('runyard.logins');

-- Uses a link up and begins the session that it is for; no row when the link was used, has expired, or its
-- token was revoked. Two who come at once: one gets it. What has expired is removed by the way.
create function runyard.redeem_login(p_link bytea, p_session bytea, p_lifetime interval) returns setof timestamptz
language plpgsql security definer set search_path = runyard, pg_temp as $f$
declare
  link runyard.logins;
begin
  delete from runyard.logins l where l.expires_at <= now();
  delete from runyard.logins l using runyard.tokens t
    where l.hash = p_link and l.kind = 'link' and t.id = l.token_id and t.revoked_at is null
    returning l.* into link;
  if not found then return; end if;
  return query
    insert into runyard.logins (hash, org_id, token_id, kind, expires_at)
    values (p_session, link.org_id, link.token_id, 'session', now() + p_lifetime)
    returning expires_at;
end $f$;

-- Whose session is this? Crosses organizations: the organization is not known before.
create function runyard.find_session(p_hash bytea) returns table (token_id text, org_id text, user_id text, scopes text[])
language sql stable security definer set search_path = runyard, pg_temp as $f$
  select t.id, t.org_id, t.user_id, t.scopes
    from runyard.logins l join runyard.tokens t on t.id = l.token_id
    where l.hash = p_hash and l.kind = 'session' and l.expires_at > now() and t.revoked_at is null
$f$;

alter function runyard.redeem_login owner to runyard_system;
alter function runyard.find_session owner to runyard_system;
